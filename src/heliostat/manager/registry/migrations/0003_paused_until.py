from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0002_truth")]

    operations = [
        migrations.AddField(
            model_name="mirror", name="paused_until", field=models.DateTimeField(null=True)
        ),
    ]

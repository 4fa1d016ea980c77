from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0004_scarce")]

    operations = [
        migrations.AddField(
            "mirror",
            "token_sha256",
            # a default in the database, too: the release before this one writes rows without it
            models.CharField(max_length=64, blank=True, default="", db_default=""),
        ),
    ]

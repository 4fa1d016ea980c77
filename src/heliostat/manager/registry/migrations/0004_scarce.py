from django.db import migrations, models


def budgets(apps, schema_editor):
    mirrors = apps.get_model("registry", "Mirror")
    for row in mirrors.objects.exclude(budget_bytes_per_month=None):
        row.budget = {
            "bytes_per_month": row.budget_bytes_per_month,
            "reset_day": row.budget_reset_day or 1,
        }
        row.save(update_fields=["budget"])


class Migration(migrations.Migration):
    dependencies = [("registry", "0003_paused_until")]

    operations = [
        migrations.AddField("mirror", "budget", models.JSONField(null=True)),
        migrations.AddField("mirror", "capacity", models.JSONField(null=True)),
        migrations.AddField("mirror", "only_beyond_ms", models.FloatField(default=0)),
        migrations.AddField("mirror", "first_hours", models.FloatField(default=0)),
        migrations.AddField("mirror", "pops", models.JSONField(default=list)),
        migrations.RunPython(budgets, migrations.RunPython.noop),
        migrations.RemoveField("mirror", "budget_bytes_per_month"),
        migrations.RemoveField("mirror", "budget_reset_day"),
    ]

"""The processes: web, worker and jobs, what runs in them, connecting projects, and whether all is well."""

"""All that speaks HTTP: the app, who may call it, the JSON API below /api, and the dashboard's pages."""

/* The glue of diagnosis.html, which reads without scripts: only the theme can be changed. */
import { theme } from "./theme_button.js";

theme();

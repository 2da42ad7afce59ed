/* The glue of pages that read without scripts: only the theme can be changed. */
import { theme } from "./theme_button.js";

theme();

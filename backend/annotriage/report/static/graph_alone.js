/* The glue of graph.html. */
import { attributionGraph } from "./graph.js";
import { theme } from "./theme_button.js";

theme();
attributionGraph();

/* The page of the attribution graph: its picture answers to clicks and keys; once another one is drawn, the page is loaded again. */
import { attributionGraph } from "./shared/graph.js";

attributionGraph();

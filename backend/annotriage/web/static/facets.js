// Where the sidebar stands above its list, it begins folded. No module: it runs before anything below is drawn, so that nothing moves.
if (matchMedia("(max-width: 960px)").matches) document.querySelector("#facets > details").open = false;

// The item's picture on the whole screen: zoom and move by keyboard, wheel and pointer.
const LARGEST = 64, STEP = 1.25, MOVE = 60;

/** Let a picture be enlarged; returns what opens the viewer. */
export function viewerOf(media) {
  const viewer = document.getElementById("viewer"), stage = viewer.querySelector(".stage"), said = viewer.querySelector("output");
  const image = stage.querySelector("img");
  let zoom = 1, x = 0, y = 0, dragged = null; // zoom: times the size at which all of it is seen; x, y: pixels from the middle

  const fit = () => Math.min(stage.clientWidth / image.naturalWidth, stage.clientHeight / image.naturalHeight);
  function show() {
    const width = image.naturalWidth * fit() * zoom, height = image.naturalHeight * fit() * zoom;
    const [mostX, mostY] = [Math.max(0, (width - stage.clientWidth) / 2), Math.max(0, (height - stage.clientHeight) / 2)];
    x = Math.max(-mostX, Math.min(mostX, x));
    y = Math.max(-mostY, Math.min(mostY, y));
    Object.assign(image.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${x}px, ${y}px)` });
    image.classList.toggle("small-picture", fit() * zoom >= 3);
    said.textContent = zoom === 1 ? "all of it" : `${zoom.toFixed(zoom < 10 ? 1 : 0)} times`;
  }
  /** Zoom about a point, pixels from the middle of the screen: what is there stays there. */
  function zoomTo(wanted, atX = 0, atY = 0) {
    const now = Math.max(1, Math.min(LARGEST, wanted));
    x = atX - (atX - x) * now / zoom;
    y = atY - (atY - y) * now / zoom;
    zoom = now;
    show();
  }
  function move(byX, byY) { x += byX; y += byY; show(); }

  function open() {
    if (media.hidden || !media.naturalWidth || viewer.open) return;
    image.src = media.currentSrc || media.src;
    image.alt = media.alt;
    viewer.showModal();
    document.documentElement.requestFullscreen?.().catch(() => {}); // where the browser does not let it, the window is filled
    image.decode().then(() => { zoom = 1; x = y = 0; show(); viewer.dataset.ready = ""; }, () => viewer.close());
  }
  const DEEDS = { in: () => zoomTo(zoom * STEP), out: () => zoomTo(zoom / STEP), whole: () => { x = y = 0; zoomTo(1); }, close: () => viewer.close() };
  const KEYS = {
    "+": DEEDS.in, "=": DEEDS.in, "-": DEEDS.out, 0: DEEDS.whole, f: DEEDS.close,
    ArrowLeft: () => move(MOVE, 0), ArrowRight: () => move(-MOVE, 0), ArrowUp: () => move(0, MOVE), ArrowDown: () => move(0, -MOVE),
  };
  viewer.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the page's own keys walk through the queue
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  viewer.addEventListener("click", (event) => DEEDS[event.target.closest?.("[data-deed]")?.dataset.deed]?.());
  viewer.addEventListener("close", () => {
    delete viewer.dataset.ready;
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  });
  document.addEventListener("fullscreenchange", () => { if (!document.fullscreenElement && viewer.open) viewer.close(); });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoomTo(zoom * STEP ** -Math.sign(event.deltaY), event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => { dragged = [event.clientX, event.clientY]; stage.setPointerCapture(event.pointerId); });
  stage.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    move(event.clientX - dragged[0], event.clientY - dragged[1]);
    dragged = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { dragged = null; });
  stage.addEventListener("dblclick", (event) => {
    const box = stage.getBoundingClientRect();
    if (zoom > 1) DEEDS.whole();
    else zoomTo(4, event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
  });
  addEventListener("resize", () => { if (viewer.dataset.ready !== undefined) show(); });
  return open;
}

// What part of the drawing is looked at. Places are shares of the drawing; at scale 1 all of it fits the plot.
const LEFT = 104, RIGHT = 10, TOP = 8, BOTTOM = 46, MOST = 60;

function camera() {
  const c = { scale: 1, x: 0, y: 0, width: 1, height: 1 };
  c.resize = (width, height) => { c.width = Math.max(1, width - LEFT - RIGHT); c.height = Math.max(1, height - TOP - BOTTOM); c.clamp(); };
  c.px = (x) => LEFT + (x - c.x) * c.scale * c.width;
  c.py = (y) => TOP + (y - c.y) * c.scale * c.height;
  c.inside = (px, py, margin) =>
    px > LEFT - margin && px < LEFT + c.width + margin && py > TOP - margin && py < TOP + c.height + margin;
  c.clamp = () => {
    c.scale = Math.min(MOST, Math.max(1, c.scale));
    c.x = Math.min(1 - 1 / c.scale, Math.max(0, c.x));
    c.y = Math.min(1 - 1 / c.scale, Math.max(0, c.y));
  };
  c.zoom = (factor, px = LEFT + c.width / 2, py = TOP + c.height / 2) => {
    const x = c.x + (px - LEFT) / (c.scale * c.width), y = c.y + (py - TOP) / (c.scale * c.height);
    c.scale = Math.min(MOST, Math.max(1, c.scale * factor));
    c.x = x - (px - LEFT) / (c.scale * c.width);
    c.y = y - (py - TOP) / (c.scale * c.height);
    c.clamp();
  };
  c.pan = (dx, dy) => { c.x -= dx / (c.scale * c.width); c.y -= dy / (c.scale * c.height); c.clamp(); };
  c.fit = () => { c.scale = 1; c.x = c.y = 0; };
  /** Moves as little as needed for a place to be in sight. */
  c.show = (x, y) => {
    if (c.inside(c.px(x), c.py(y), -20)) return;
    c.x = x - 0.5 / c.scale; c.y = y - 0.5 / c.scale; c.clamp();
  };
  return c;
}

// An SVG as a PNG, saved once: drawn by the browser, which has the fonts. Nothing is fetched; the SVG is a blob of its own.
export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".root");
  if (!data.svg || root.turn === data.turn) return;
  root.turn = data.turn;
  const status = document.createElement("span"), image = new Image();
  status.className = "quiet";
  status.setAttribute("role", "status");
  status.textContent = "drawing …";
  root.replaceChildren(status);
  const blob = URL.createObjectURL(new Blob([data.svg], { type: "image/svg+xml" }));
  image.onload = () => {
    const canvas = document.createElement("canvas"), scale = 2;
    canvas.width = image.naturalWidth * scale; canvas.height = image.naturalHeight * scale;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(blob);
    canvas.toBlob((png) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(png); link.download = data.name; link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      status.textContent = `saved ${data.name}`;
    });
  };
  image.onerror = () => { URL.revokeObjectURL(blob); status.textContent = "The picture could not be drawn; take the SVG."; };
  image.src = blob;
}

// Before every component's own script.

// An element with a class and a text. Text is only ever set so: what comes from a model or a data set is never markup.
function make(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Entries of the browser's history: the old page with the new query, pushed just before the new page, is no view.
const SOON = 5000;

export default function () {
  if (window.lacewingHistory) return;
  window.lacewingHistory = true;
  const push = window.history.pushState.bind(window.history);
  const replace = window.history.replaceState.bind(window.history);
  let halfway = null; // { path, query, time } of an entry that changed the query alone

  window.history.pushState = (state, title, url) => {
    const before = window.location, after = new URL(url ?? "", before.href), now = Date.now();
    const moved = after.pathname !== before.pathname;
    const second = moved && halfway && now - halfway.time < SOON && after.search === before.search &&
      halfway.path === before.pathname && halfway.query === before.search;
    halfway = moved ? null : { path: after.pathname, query: after.search, time: now };
    (second ? replace : push)(state, title, url);
  };
  window.addEventListener("popstate", () => { halfway = null; });
}

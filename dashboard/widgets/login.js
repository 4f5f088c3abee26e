// Asks for the password, or gives the server the token that this tab was given for it. Nothing outlives the tab.
const PLACE = "lacewing-token";

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const root = parentElement.querySelector(".root");
  if (data.keep) { sessionStorage.setItem(PLACE, data.keep); root.replaceChildren(); return; }

  const kept = sessionStorage.getItem(PLACE);
  if (kept && !data.wrong) { sessionStorage.removeItem(PLACE); setStateValue("token", kept); }

  const form = document.createElement("form"), label = document.createElement("label");
  const field = document.createElement("input"), button = document.createElement("button"), note = document.createElement("p");
  label.textContent = "Password";
  field.type = "password"; field.autocomplete = "current-password"; field.required = true; field.autofocus = true;
  button.textContent = "Enter";
  note.setAttribute("role", "alert");
  note.textContent = data.wrong ? "That is not the password." : "";
  label.append(field);
  form.append(label, button, note);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value) setTriggerValue("password", field.value);
  });
  root.replaceChildren(form);
  field.focus();
}

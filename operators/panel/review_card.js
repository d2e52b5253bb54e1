// The card of the panel's tab "Review": a picture, a question, and one keystroke for each answer.
//
// Python panels know buttons, but no keys, and that is all that this file is for: it draws what the tab's handlers
// return, and calls them. It is written as the browser runs it; nothing is built from it.
//
// The questions are kept here, and not in the panel's data: the App copies that into the panel's state, where a question
// that was answered comes back, and draws the card anew with every event. So is what was answered, because a person is
// faster than the way to the server and back, and answers may be on their way together.
(function () {
  "use strict";

  const { createElement: h, useEffect, useReducer } = window.React;
  const { Box, Button, TextField, Typography } = window.__mui__;
  const { useTriggerPanelEvent } = window.__foo__;
  const { PluginComponentType, registerComponent } = window.__fop__;

  const KEYS = { y: "yes", n: "no", s: "skip", a: "add", u: "back", o: "open" };
  // where letters mean something else: what is typed, forms of operators, a sample that is open, a menu
  const TYPED = "input:not([type=checkbox]), textarea, select, [contenteditable=true], [role=menu], [role=listbox]";
  const OVER = "[data-cy=modal], [data-cy=operators-prompt-modal], [data-cy=operators-browser-search], [role=dialog]";

  // of the queue that is looked at: the questions ahead, what was answered here, and how to reach the server
  const empty = (queue) => ({ queue, items: [], answered: [], waiting: 0, note: "", done: 0, total: 0 });
  let desk = empty(null);
  let server = null; // { trigger, view } while the card is on the screen
  let redraw = () => {};

  // Two people must not have one name by chance, and one must have the same after the page was loaded again.
  const NAME = "concepts-sam3-reviewer";
  const name = () => {
    const held = localStorage.getItem(NAME) || `reviewer ${Math.random().toString(16).slice(2, 6)}`;
    localStorage.setItem(NAME, held);
    return held;
  };

  function sit(queue) {
    desk = empty(queue);
    call("on_items", { counted: true });
  }

  function call(handler, params) {
    const asked = desk;
    asked.waiting += 1;
    const who = server.view.user || name();
    server.trigger(server.view[handler], { ...params, reviewer: who }, false, (reply) => {
      asked.waiting -= 1;
      const found = reply && reply.result;
      if (found && found.items) {
        // of several replies under way, an earlier one knows less: what was answered here stays answered
        asked.items = found.items;
        if (found.note) asked.note = found.note;
        if (found.total) Object.assign(asked, { done: found.done, total: found.total });
        if (found.back) asked.answered = asked.answered.filter((id) => id !== found.back);
      }
      redraw();
    });
  }

  const open = () => desk.items.filter((item) => !desk.answered.includes(item.id));

  function act(what) {
    const item = open()[0];
    if (what === "back") {
      const last = desk.answered[desk.answered.length - 1] || null;
      if (last || desk.done) call("on_back", { id: last, counted: true });
    } else if (item && what === "open") {
      call("on_open", { id: item.id });
    } else if (item && (what !== "add" || item.candidates)) {
      desk.answered.push(item.id);
      if (what !== "skip") desk.done += 1; // to count all of them anew for each would take the server too long
      call(what === "add" ? "on_add" : "on_answer", { id: item.id, verdict: what });
    }
    redraw();
  }

  function pressed(event) {
    const what = KEYS[event.key.toLowerCase()];
    const chord = event.ctrlKey || event.metaKey || event.altKey || event.repeat;
    if (!what || chord || !server || event.target.closest?.(TYPED) || document.querySelector(OVER)) return;
    event.preventDefault();
    event.stopPropagation(); // the grid has shortcuts, too
    act(what);
  }

  function ReviewCard(props) {
    const view = props.schema.view;
    const trigger = useTriggerPanelEvent();
    const [, again] = useReducer((count) => count + 1, 0);
    server = { trigger, view };
    redraw = again;
    useEffect(() => {
      window.addEventListener("keydown", pressed, true);
      return () => window.removeEventListener("keydown", pressed, true);
    }, []);
    useEffect(() => {
      if (desk.queue !== view.queue) sit(view.queue);
    }, [view.queue]);

    const items = open();
    const item = items[0];
    const key = (letter, label, what, main, off) =>
      h(
        Button,
        {
          key: what,
          "data-cy": `review-${what}`,
          variant: main ? "contained" : "outlined",
          color: main ? "primary" : "inherit",
          size: "small",
          disabled: Boolean(off),
          onClick: () => act(what),
          sx: { textTransform: "none", whiteSpace: "nowrap" },
        },
        h("kbd", { style: { opacity: 0.7, marginRight: 6, fontFamily: "inherit" } }, letter),
        label,
      );
    const asked = item && [
      h(Typography, { key: "question", variant: "h6", "data-cy": "review-question" }, item.question),
      h(Typography, { key: "place", variant: "body2", color: "text.secondary" }, `${desk.done} of ${desk.total} answered`),
      item.picture && h("img", {
        key: item.id, // so that the picture before is never shown with this question
        src: item.picture,
        alt: item.question,
        "data-cy": "review-picture",
        style: { display: "block", maxWidth: "100%", height: 340, objectFit: "contain", margin: "8px 0" },
      }),
      h(Typography, { key: "because", variant: "body2", color: "text.secondary" }, item.because),
    ];
    const nothing = h(Typography, { variant: "body1" }, desk.waiting ? "…" : desk.note);
    return h(
      Box,
      { "data-cy": "review-card", "data-item": item ? item.id : "", sx: { width: "100%", minWidth: 0 } },
      asked || nothing,
      h(
        Box,
        { sx: { display: "flex", flexWrap: "wrap", gap: 1, mt: 1 } },
        key("Y", "Yes", "yes", true, !item),
        key("N", "No", "no", true, !item),
        item && item.candidates ? key("A", `No: add ${item.candidates}`, "add") : null,
        key("S", "Skip", "skip", false, !item),
        key("U", "Undo", "back", false, !desk.answered.length && !desk.done),
        key("O", "Open", "open", false, !item),
      ),
      view.user
        ? null
        : h(TextField, {
            label: "Your name",
            size: "small",
            variant: "standard",
            defaultValue: name(),
            "data-cy": "review-name",
            onBlur: (event) => {
              const said = event.target.value.trim();
              if (!said || said === name()) return;
              localStorage.setItem(NAME, said);
              sit(view.queue);
            },
            sx: { mt: 1 },
          }),
    );
  }

  registerComponent({
    name: "ConceptsReviewCard",
    label: "Review card",
    component: ReviewCard,
    type: PluginComponentType.Component,
    activator: () => true,
  });
})();

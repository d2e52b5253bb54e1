// The card of the panel's tab "Review": a picture, a question, and one keystroke for each answer.
//
// Python panels know buttons, but no keys, and that is all that this file is for: it draws what the tab puts into the
// panel's data, and calls the tab's own handlers. It is written as the browser runs it; nothing is built from it.
//
//   data:   { items: [{ id, question, picture, because, place, candidates }], state, note }, the next question first
//   view:   on_answer, on_back, on_add: URIs of handlers
(function () {
  "use strict";

  const { createElement: h, useCallback, useEffect, useRef, useState } = window.React;
  const { Box, Button, Typography } = window.__mui__;
  const { useTriggerPanelEvent } = window.__foo__;
  const { PluginComponentType, registerComponent } = window.__fop__;

  const KEYS = { y: "yes", n: "no", s: "skip", a: "add", u: "back" };
  // where letters mean something else: what is typed, forms of operators, a sample that is open, a menu
  const ELSEWHERE = "input, textarea, select, [contenteditable=true], [role=dialog], [role=menu], [role=listbox]";
  const OVER = "[data-cy=modal], [data-cy=operators-prompt-modal], [data-cy=operators-browser-search], [role=dialog]";

  function ReviewCard(props) {
    const data = props.data || {};
    const view = props.schema.view;
    const trigger = useTriggerPanelEvent();
    // Answered here, though the server may not know yet: a person is faster than the way there and back.
    const [answered, setAnswered] = useState(() => []);
    const items = (data.items || []).filter((item) => !answered.includes(item.id));
    const item = items[0];

    const act = useCallback(
      (what) => {
        if (what === "back") {
          const last = answered[answered.length - 1];
          setAnswered(answered.slice(0, -1));
          trigger(view.on_back, { id: last || null });
        } else if (item && (what !== "add" || item.candidates)) {
          setAnswered([...answered, item.id]);
          trigger(what === "add" ? view.on_add : view.on_answer, { id: item.id, verdict: what });
        }
      },
      [answered, item, trigger, view],
    );

    const acting = useRef(act);
    acting.current = act;
    useEffect(() => {
      const pressed = (event) => {
        const what = KEYS[event.key.toLowerCase()];
        const chord = event.ctrlKey || event.metaKey || event.altKey || event.repeat;
        if (!what || chord || event.target.closest?.(ELSEWHERE) || document.querySelector(OVER)) return;
        event.preventDefault();
        event.stopPropagation(); // the grid has shortcuts, too
        acting.current(what);
      };
      window.addEventListener("keydown", pressed, true);
      return () => window.removeEventListener("keydown", pressed, true);
    }, []);

    const key = (letter, label, what, color, off) =>
      h(
        Button,
        {
          key: what,
          "data-cy": `review-${what}`,
          variant: color ? "contained" : "outlined",
          color: color || "inherit",
          size: "small",
          disabled: Boolean(off),
          onClick: () => act(what),
          sx: { textTransform: "none", whiteSpace: "nowrap" },
        },
        h("kbd", { style: { opacity: 0.7, marginRight: 6, fontFamily: "inherit" } }, letter),
        label,
      );

    const buttons = [
      key("Y", "Yes", "yes", "primary", !item),
      key("N", "No", "no", "primary", !item),
      item && item.candidates ? key("A", `No: add ${item.candidates}`, "add") : null,
      key("S", "Skip", "skip", null, !item),
      key("U", "Undo", "back", null, !answered.length && !data.undoable),
    ];
    return h(
      Box,
      { "data-cy": "review-card", "data-item": item ? item.id : "", sx: { width: "100%", minWidth: 0 } },
      item
        ? [
            h(Typography, { key: "question", variant: "h6", "data-cy": "review-question" }, item.question),
            h(Typography, { key: "place", variant: "body2", color: "text.secondary" }, item.place),
            h("img", {
              key: item.id, // so that the picture before is never shown with this question
              src: item.picture,
              alt: item.question,
              "data-cy": "review-picture",
              style: { display: "block", maxWidth: "100%", maxHeight: 380, margin: "8px 0", borderRadius: 4 },
            }),
            h(Typography, { key: "because", variant: "body2", color: "text.secondary" }, item.because),
          ]
        : h(Typography, { variant: "body1" }, data.items && data.items.length ? "…" : data.note || "…"),
      h(Box, { sx: { display: "flex", flexWrap: "wrap", gap: 1, mt: 1 } }, ...buttons),
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

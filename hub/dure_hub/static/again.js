// Loads the page anew every few seconds while something on it still moves, but not from under the reader's hands.
import { every } from "./poll.js";

let first = true;
every(5000, async () => {
  if (!first && !document.activeElement?.closest("form, details")) location.reload();
  first = false;
});

// Who pays for what is launched: a team where somebody is in several, and a project in it.

const PAYER = "dure-payer:";
/** What this person chose the last time, in this browser; `chosen` is kept. A page without storage remembers nothing. */
function lastPayer(name, chosen) {
  try {
    if (chosen) localStorage.setItem(PAYER + name, JSON.stringify(chosen));
    return JSON.parse(localStorage.getItem(PAYER + name)) ?? {};
  } catch {
    return {};
  }
}

/**
 * Two fields. The team is asked for where there is more than one; at first it is what code gave, else what was chosen
 * last, else that of the server. `values()` are what to send; `keep()` remembers them.
 */
function payerFields(model, given, changed) {
  const team = field(word(model, "payer_team"), h("select", { required: true, onchange: changed }), word(model, "payer_team_help"));
  const project = field(word(model, "payer_project"), h("input", { type: "text", spellcheck: "false", autocomplete: "off", maxlength: 30, value: given.project, onchange: changed }), word(model, "payer_project_help"));
  let who = null;
  let teams = [];
  const paying = () => (teams.length > 1 ? team.control.value : given.team ?? "");
  const usual = () => paying() || who.team || who.teams[0] || "";
  const begin = (again) => {
    const last = lastPayer(who.name);
    const first = [team.control.value, given.team, last.team, who.team].find((one) => one && teams.includes(one)) ?? "";
    // Without one to begin with there is a line that is no team, so that none is charged by accident.
    keyed(team.control, first ? teams : ["", ...teams], (one) => one, (one) => h("option", { value: one }, one || word(model, "payer_choose")), () => {});
    team.control.value = first;
    if (!again && !project.control.value && usual() === last.team) project.control.value = last.project;
    changed();
  };
  show(team.node, false);
  return {
    nodes: [team.node, project.node],
    patch: (seen) => {
      if (!seen || seen === who) return;
      const known = [...new Set([...(given.team ? [given.team] : []), ...seen.teams])];
      const [again, same] = [Boolean(who), Boolean(who) && known.join() === teams.join()];
      who = seen;
      teams = known;
      if (!same) begin(again);
      show(team.node, teams.length > 1);
    },
    values: () => ({ team: paying(), project: project.control.value }),
    keep: () => who && lastPayer(who.name, { team: usual(), project: project.control.value.trim() }),
    say: (wrong) => {
      team.say(wrong["payer.team"]);
      project.say(wrong["payer.project"]);
    },
  };
}

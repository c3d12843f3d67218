"""The launcher's other half: reads the signature, asks for profiles and plan, checks the form, trains."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dure.errors import BadRequest, DureError, Text
from dure.wire.base import NAME_PATTERN
from dure_widgets.controllers.payer import Payer
from dure_widgets.entries import Parameter, Signature, read_entry, shown, value_of
from dure_widgets.panel import TICK, request_id
from dure_widgets.portal import Portal

if TYPE_CHECKING:
    from dure_widgets.training_launcher import TrainingLauncher

PARAMETER_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
LONGEST_NAME, MOST_PROCESSES = 30, 64
_NOTHING = object()


@dataclass(frozen=True)
class Launch:
    """What is launched, and what goes along. `parameters` are values to begin with."""

    entry: Callable[..., Any] | str | Path
    files: Sequence[str | Path] | None = None
    experiment: str = "default"
    parameters: Mapping[str, Any] = field(default_factory=dict)


class LauncherController:
    """Binds a launcher to the portal. Raises `BadRequest` for a value to begin with that the entry cannot take."""

    def __init__(self, panel: TrainingLauncher, portal: Portal, launch: Launch) -> None:
        self._panel, self._portal, self._launch = panel, portal, launch
        try:
            self._signature = read_entry(launch.entry)
        except DureError as error:
            self._signature = Signature(str(launch.entry))
            panel.tell(error)
        else:
            self._check_given()
        fields = [parameter.as_field() for parameter in self._signature.parameters]
        panel.show(entry=self._signature.label, fields=fields, free=self._signature.free)
        panel.defaults = {one.name: one.default for one in self._signature.parameters if not one.required}
        self._payer = Payer(panel, portal)
        panel.on_ask(self._heard)

    def _check_given(self) -> None:
        known = {parameter.name for parameter in self._signature.parameters}
        for name in self._launch.parameters:
            if name in known:
                continue
            if not self._signature.free:
                taken = ", ".join(sorted(known)) or "-"
                rule = {
                    key: text.format(entry=self._signature.label, names=taken)
                    for key, text in UNKNOWN_RULE.items()
                }
                raise BadRequest(field="parameters", value=name, rule=rule)
            _free_name(name, {})

    def _heard(self, verb: str, values: dict[str, Any]) -> None:
        if verb in (TICK, "plan"):
            self._payer.look()
            profile = str(values.get("profile") or self._panel.state["chosen"]["profile"])
            self._look(profile, self._payer.planned(values))
        elif verb == "launch":
            self._start(values)

    def _look(self, profile: str, payer: Mapping[str, str | None]) -> None:
        seen = self._portal.profiles()
        self._panel.show(profiles=[one.model_dump(mode="json") for one in seen])
        if profile not in [one.name for one in seen]:
            self._panel.show(plan=None)
            return
        try:
            plan = self._portal.plan(profile, **payer).model_dump(mode="json")
        except DureError:
            # Without a plan the form still works; what it would say is then unknown, and the launch decides.
            plan = None
        self._panel.show(plan=plan)

    def _start(self, values: Mapping[str, Any]) -> None:
        wrong: dict[str, str] = {}
        parameters, places = self._parameters(values, wrong)
        processes = self._checked("processes", values.get("processes"), _processes, wrong)
        name = self._checked("name", values.get("name"), _name, wrong)
        payer = self._payer.chosen(values, wrong)
        self._panel.show(wrong=wrong)
        if wrong:
            return
        options = {"profile": str(values.get("profile") or "cpu"), "parameters": parameters}
        try:
            job = self._portal.train(
                self._launch.entry,
                name=name,
                processes=processes,
                experiment=self._launch.experiment,
                files=self._launch.files,
                _id=request_id(values),
                **options,
                **payer,
            )
        except BadRequest as error:
            at, _, parameter = str(error.facts.get("field", "")).partition(".")
            place = places.get(parameter) if at == "parameters" else at if at in ("name", "processes") else None
            if place is None:
                raise
            self._panel.show(wrong={place: error.text(self._panel.language)})
            return
        except DureError as error:
            of_payer = self._payer.refused(error)
            if of_payer is None:
                raise
            self._panel.show(wrong=of_payer)
            return
        self._panel.show(launched={"name": job.name})
        self._panel.job = job

    def _parameters(
        self, values: Mapping[str, Any], wrong: dict[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What to send, and where on the form each stands. A field left as it was is the entry's own business."""
        given = values.get("parameters") or {}
        found: dict[str, Any] = {}
        places: dict[str, str] = {}
        for parameter in self._signature.parameters:
            if parameter.name in given or parameter.required:
                read = partial(self._value, parameter)
                found[parameter.name] = self._checked(parameter.name, given.get(parameter.name), read, wrong)
                places[parameter.name] = parameter.name
        taken = dict.fromkeys(parameter.name for parameter in self._signature.parameters)
        for number, (name, raw) in enumerate(values.get("more") or []):
            key, place = str(name).strip(), f"more.{number}"
            if not key and not str(raw).strip():
                continue
            self._checked(place, name, lambda name: _free_name(name, taken), wrong)
            taken[key], places[key] = None, place
            found[key] = self._value(Parameter(key, "any", optional=True), raw)
        return found, places

    def _value(self, parameter: Parameter, raw: Any) -> Any:
        """A field's value. What was given in code and not changed since stays what it was, a text "7" for one."""
        begun = self._launch.parameters.get(parameter.name, _NOTHING)
        if begun is not _NOTHING and not isinstance(raw, bool) and str(raw or "") == shown(begun):
            return begun
        return value_of(parameter, raw)

    def _checked(self, field: str, raw: Any, reader: Callable[[Any], Any], wrong: dict[str, str]) -> Any:
        try:
            return reader(raw)
        except BadRequest as error:
            wrong[field] = error.text(self._panel.language)
            return None


def _processes(raw: Any) -> int | None:
    text = "" if raw is None else str(raw).strip()
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROCESSES:
        raise BadRequest(field="processes", value=text, rule=PROCESSES_RULE)
    return int(text)


def _name(raw: Any) -> str | None:
    text = str(raw or "").strip()
    if text and (len(text) > LONGEST_NAME or not re.fullmatch(NAME_PATTERN, text)):
        raise BadRequest(field="name", value=text[:80], rule=NAME_RULE)
    return text or None


def _free_name(raw: Any, taken: Mapping[str, Any]) -> str:
    text = str(raw).strip()
    if not re.fullmatch(PARAMETER_PATTERN, text):
        raise BadRequest(field="name", value=repr(text)[:80], rule=PARAMETER_RULE)
    if text in taken:
        raise BadRequest(field="name", value=text, rule=TWICE_RULE)
    return text


PROCESSES_RULE: Text = {
    "en": f"it is a whole number from 1 to {MOST_PROCESSES}, or empty",
    "ko": f"1부터 {MOST_PROCESSES}까지의 정수이거나 비어 있어야 합니다",
}
NAME_RULE: Text = {
    "en": f"a name has at most {LONGEST_NAME} small letters, digits and single hyphens, and begins with a letter",
    "ko": f"이름은 소문자로 시작하고 소문자, 숫자, 하이픈으로 {LONGEST_NAME}자 이내여야 합니다",
}
PARAMETER_RULE: Text = {
    "en": "a parameter's name is made of letters, digits, _ and -, and begins with a letter or _",
    "ko": "매개변수 이름은 영문자나 _로 시작하고 영문자, 숫자, _, -로 이루어집니다",
}
TWICE_RULE: Text = {"en": "it is given twice", "ko": "두 번 지정되었습니다"}
UNKNOWN_RULE: Text = {"en": "{entry} takes {names}", "ko": "{entry}의 매개변수: {names}"}

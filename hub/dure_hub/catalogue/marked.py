"""YAML that people edit, read as one of our wire types: what is wrong is named by its line and place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from dure.errors import DureError, Text

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]
_SHOWN = 200
_DEEPEST = 12
_YAML: Text = {"en": "it is YAML", "ko": "YAML 형식이어야 합니다"}
_ONCE: Text = {"en": "each name stands there once", "ko": "이름은 한 번씩만 씁니다"}
_MAPPING: Text = {"en": "it is a mapping of names to values", "ko": "이름과 값의 목록이어야 합니다"}
_TEXT: Text = {"en": "a name is one word or text", "ko": "이름은 텍스트여야 합니다"}
_DEEP: Text = {"en": "nothing here is nested so deep", "ko": "이렇게 깊이 중첩할 수 없습니다"}
_ALIAS: Text = {"en": "anchors and aliases are not used here", "ko": "앵커와 별칭은 쓸 수 없습니다"}
_RULES: Mapping[str, Text] = {
    "missing": {"en": "it is required", "ko": "필수 항목입니다"},
    "extra_forbidden": {"en": "the fields here are {fields}", "ko": "여기에 쓸 수 있는 항목은 {fields}입니다"},
    "string_type": {"en": "it is text; put it in quotes", "ko": "텍스트여야 합니다. 따옴표로 묶으세요"},
    "string_pattern_mismatch": {"en": "it matches {pattern}", "ko": "{pattern} 형식이어야 합니다"},
    "string_too_long": {"en": "it has at most {max_length} characters", "ko": "최대 {max_length}자입니다"},
    "string_too_short": {"en": "it has at least {min_length} characters", "ko": "최소 {min_length}자입니다"},
    "int_type": {"en": "it is a whole number", "ko": "정수여야 합니다"},
    "int_parsing": {"en": "it is a whole number", "ko": "정수여야 합니다"},
    "int_from_float": {"en": "it is a whole number", "ko": "정수여야 합니다"},
    "float_type": {"en": "it is a number", "ko": "숫자여야 합니다"},
    "float_parsing": {"en": "it is a number", "ko": "숫자여야 합니다"},
    "decimal_type": {"en": "it is a number", "ko": "숫자여야 합니다"},
    "decimal_parsing": {"en": "it is a number", "ko": "숫자여야 합니다"},
    "decimal_max_places": {
        "en": "it has at most six digits behind the point",
        "ko": "소수점 아래는 여섯 자리까지입니다",
    },
    "bool_type": {"en": "it is true or false", "ko": "true 또는 false여야 합니다"},
    "bool_parsing": {"en": "it is true or false", "ko": "true 또는 false여야 합니다"},
    "greater_than": {"en": "it is more than {gt}", "ko": "{gt}보다 커야 합니다"},
    "greater_than_equal": {"en": "it is at least {ge}", "ko": "{ge} 이상이어야 합니다"},
    "less_than_equal": {"en": "it is at most {le}", "ko": "{le} 이하여야 합니다"},
    "literal_error": {"en": "it is one of {expected}", "ko": "{expected} 중 하나여야 합니다"},
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "list_type": {"en": "it is a list", "ko": "목록이어야 합니다"},
    "date_from_datetime_parsing": {"en": "it is a day, as in 2026-01-31", "ko": "2026-01-31 같은 날짜여야 합니다"},
    "date_parsing": {"en": "it is a day, as in 2026-01-31", "ko": "2026-01-31 같은 날짜여야 합니다"},
    "date_type": {"en": "it is a day, as in 2026-01-31", "ko": "2026-01-31 같은 날짜여야 합니다"},
    "nul": {
        "en": "no text in it has the character NUL (U+0000)",
        "ko": "텍스트에 NUL 문자(U+0000)를 쓸 수 없습니다",
    },
    "image_reference": {
        "en": "an image is a name of `images`, or a reference as registry.example.com/team/tool:1.2",
        "ko": "이미지는 `images`의 이름이거나 registry.example.com/team/tool:1.2 같은 주소여야 합니다",
    },
    "claim_name": {
        "en": "a claim has small letters, digits, - and . in it, and begins and ends with a letter or digit",
        "ko": "클레임 이름은 영문 소문자, 숫자, -, .으로 쓰고 문자나 숫자로 시작하고 끝나야 합니다",
    },
    "mount_path": {
        "en": "a path is absolute, of letters, digits, _, - and ., without .. and a / at its end: /data/imagenet",
        "ko": "경로는 /data/imagenet처럼 /로 시작하고 영문자, 숫자, _, -, .만 쓰며 ..이나 끝의 /는 쓸 수 없습니다",
    },
    "mount_reserved": {
        "en": "no volume is at, above or below {folder}; /data and /mnt are free",
        "ko": "{folder} 자체나 그 위아래에는 볼륨을 둘 수 없습니다. /data나 /mnt 아래를 쓰세요",
    },
    "mounts_apart": {
        "en": "each claim stands there once, and no path is in another; {claim} at {path} is against that",
        "ko": "클레임은 한 번씩만 쓰고 경로는 서로 겹치지 않아야 합니다. {path}의 {claim}이(가) 어긋납니다",
    },
    "project_in_team": {
        "en": "a project is named with its team: vision/segmentation",
        "ko": "프로젝트는 vision/segmentation처럼 팀과 함께 씁니다",
    },
}


class BadFile(DureError):
    """A file that cannot be used: `line` (0 where there is none), `place` in it, `value`, and the `rule`."""

    code, status = "bad_file", 422
    message: ClassVar[Text] = {
        "en": "{file}, {where}: {place} = {value} is not possible: {rule}.",
        "ko": "{file} {where}: {place} = {value}은(는) 쓸 수 없습니다. 규칙: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct that place. Nothing was changed.",
        "ko": "그 부분을 고치세요. 변경된 것은 없습니다.",
    }

    def __init__(self, file: str, line: int, place: str, value: object, rule: Text, **more: object) -> None:
        text = str(value)
        where = {"en": f"line {line}", "ko": f"{line}번째 줄"} if line else {"en": "as sent", "ko": "보낸 값"}
        facts = {
            "file": file,
            "line": line,
            "place": place,
            "value": text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…",
            "rule": rule,
            "where": where,
        }
        super().__init__(**{**facts, **more})


class Marked:
    """The values of a text, and the line on which each stands."""

    def __init__(self, text: str, file: str) -> None:
        """Raises `BadFile` for what is no YAML, or YAML that says less or more than values by name."""
        self.file = file
        self.lines: dict[Path, int] = {}
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                if isinstance(event, yaml.AliasEvent):
                    raise BadFile(
                        file, (event.start_mark.line if event.start_mark else 0) + 1, "*", event.anchor, _ALIAS
                    )
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            problem = str(getattr(error, "problem", None) or error)
            raise BadFile(file, mark.line + 1 if mark else 1, file, problem, _YAML) from error
        self.value: Any = {} if root is None else self._value((), root)

    def line(self, path: Path) -> int:
        """The line of this place, or of the nearest around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def wrong(self, path: Path, value: object, rule: Text) -> BadFile:
        """The error about this place."""
        return BadFile(self.file, self.line(path), placed(path), value, rule)

    def read(self, kind: type[M]) -> M:
        """The values as this kind. Raises `BadFile`."""
        if not isinstance(self.value, Mapping):
            raise self.wrong((), self.value, _MAPPING)
        try:
            return kind.model_validate(self.value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = tuple(part for part in first["loc"] if part != "[key]")
            value = "nothing" if first["type"] == "missing" else first["input"]
            raise self.wrong(path, value, rule_of(first, fields_at(kind, path[:-1]))) from error

    def _value(self, path: Path, node: yaml.Node) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > _DEEPEST:
            raise self.wrong(path, "…", _DEEP)
        if isinstance(node, yaml.SequenceNode):
            return [self._value((*path, number), one) for number, one in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(path, node))
        if node.tag == "tag:yaml.org,2002:float":
            return str(node.value)  # money has more digits than a float
        try:
            return yaml.SafeLoader("").construct_document(node)
        except (yaml.YAMLError, ValueError) as error:  # a day that no month has
            raise self.wrong(path, node.value, _YAML) from error

    def _pairs(self, path: Path, node: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key, inner in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise BadFile(self.file, line, placed(path), "…", _TEXT)
            name = str(key.value)  # `on`, `007` and the like are names here, whatever YAML makes of them
            if name in seen:
                raise BadFile(self.file, line, placed((*path, name)), name, _ONCE)
            seen.add(name)
            self.lines[*path, name] = line
            yield name, self._value((*path, name), inner)


def placed(path: Sequence[str | int]) -> str:
    """A place as people read it: `teams.vision.leads[1]`."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the file"


def rule_of(error: Mapping[str, Any], fields: Sequence[str] = ()) -> Text:
    """The broken rule in each language; a rare one in pydantic's own English. `fields` are those of the place."""
    text = _RULES.get(str(error["type"]))
    if text is None:
        said = str(error["msg"])
        return {"en": said, "ko": said}
    facts = {"fields": ", ".join(fields), **{name: str(value) for name, value in error.get("ctx", {}).items()}}
    return {language: one.format_map(facts) for language, one in text.items()}


def fields_at(kind: Any, path: Path) -> Sequence[str]:
    """The fields of the type that stands at this place of a `kind`; none where it has none."""
    if get_origin(kind) in (Union, UnionType, Annotated):
        found = (fields_at(one, path) for one in get_args(kind))
        return next((fields for fields in found if fields), ())
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        known = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
        return list(known) if not path else fields_at(known.get(str(path[0])), path[1:])
    inner = get_args(kind)
    return fields_at(inner[-1], path[1:]) if inner and path else ()

"""The sentences of the pages of shares, each in English and Korean."""

from __future__ import annotations

SENTENCES: dict[str, tuple[str, str]] = {
    "nav.shared": ("Sharing", "공유"),
    "share.title": ("Share {name}", "{name} 공유"),
    "share.who": ("Who else may open this server", "이 서버를 열 수 있는 사람"),
    "share.danger": (
        "Whoever you let in can do there what you can: run code as you, read and change your files, and use the "
        "portal in your name while the server runs. To be sure that nothing of theirs stays, stop the server.",
        "초대받은 사람은 이 서버에서 나와 똑같이 할 수 있습니다. 내 이름으로 코드를 실행하고, 내 파일을 읽고 "
        "바꾸며, 서버가 켜져 있는 동안 내 이름으로 포털을 쓸 수 있습니다. "
        "남긴 것이 없도록 하려면 서버를 중지하세요.",
    ),
    "share.nobody": ("Nobody but you", "나만 열 수 있습니다"),
    "share.since": ("since", "공유 시작"),
    "share.address": ("They open it at", "열 수 있는 주소"),
    "share.not_running": (
        "It does not run right now. Shares stay, and count again when it runs.",
        "지금은 실행 중이 아닙니다. 공유 설정은 남아 있고, 다시 실행되면 적용됩니다.",
    ),
    "share.with": ("Name of a colleague", "동료의 이름"),
    "share.with.help": ("As they log in.", "로그인할 때 쓰는 이름."),
    "share.add": ("Let in", "초대"),
    "share.remove": ("Remove", "제거"),
    "share.remove.named": ("Let {person} in no more", "{person} 님 접근 끝내기"),
    "shared.title": ("Sharing", "공유"),
    "shared.lead": (
        "Let a colleague into a server, or show them a copy of one notebook.",
        "동료를 내 서버에 초대하거나 노트북 하나의 사본을 보여 줄 수 있습니다.",
    ),
    "shared.servers": ("My servers", "내 서버"),
    "shared.servers.none": ("No server runs", "실행 중인 서버가 없습니다"),
    "shared.mine": ("Notebooks you show", "내가 보여 주는 노트북"),
    "shared.mine.none": ("None", "없음"),
    "shared.with_me": ("Shared with you", "나에게 공유됨"),
    "shared.with_me.none": ("Nothing yet", "아직 없습니다"),
    "shared.server_of": ("{owner}'s server {name}", "{owner} 님의 서버 {name}"),
    "shared.open": ("Open", "열기"),
    "shared.end": ("End", "끝내기"),
    "shared.end.named": ("Show {path} to {person} no more", "{person} 님에게 {path} 공유 끝내기"),
    "shared.notebook": ("Notebook", "노트북"),
    "shared.person": ("Colleague", "동료"),
    "shared.of": ("Owner", "소유자"),
    "shared.since": ("Copied", "복사한 시각"),
    "shared.new": ("Show a notebook", "노트북 보여 주기"),
    "shared.new.more": (
        "Your colleague sees a copy as it is now. Nothing of it runs, and ending the share deletes it.",
        "동료는 지금 상태의 사본을 봅니다. 아무것도 실행되지 않으며, 공유를 끝내면 사본이 삭제됩니다.",
    ),
    "shared.path": ("Path in your folder", "내 폴더 안의 경로"),
    "shared.path.help": (
        "As JupyterLab's file browser shows it, such as work/report.ipynb.",
        "JupyterLab 파일 목록에 보이는 경로. 예: work/report.ipynb.",
    ),
    "shared.add": ("Show", "보여 주기"),
    "shared.copy": (
        "A copy of {path}, from {owner}. It does not change with the notebook.",
        "{owner} 님이 공유한 {path}의 사본입니다. 원본이 바뀌어도 이 사본은 그대로입니다.",
    ),
    "shared.download": ("Download it", "내려받기"),
}

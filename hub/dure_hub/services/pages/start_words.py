"""The sentences of a start: choosing, waiting, the turn, the progress, and what is said of the end."""

from __future__ import annotations

SENTENCES: dict[str, tuple[str, str]] = {
    # choosing
    "spawn.gpu.memory": ("GPU memory", "GPU 메모리"),
    "spawn.gpu.memory.each": ("{size} GiB each, {total} GiB in all", "각 {size} GiB, 합계 {total} GiB"),
    "spawn.share": ("Share of the GPU", "GPU 지분"),
    "spawn.share.whole": ("whole", "전체"),
    "spawn.share.part": ("{percent} %, beside others", "{percent} %, 다른 사람과 함께"),
    "spawn.share.mig": ("a MIG instance of its own ({mig})", "전용 MIG 인스턴스({mig})"),
    "spawn.start": ("Starts", "시작"),
    "spawn.start.now": ("now", "지금"),
    "spawn.start.latest": ("at the latest", "늦어도"),
    "spawn.start.unknown": ("unknown", "알 수 없음"),
    "spawn.start.position": ("place {position} in line", "대기 순서 {position}번째"),
    "spawn.start.never": ("not as things are", "현재 불가"),
    "spawn.left": ("Your quota after 8 h", "8시간 사용 후 내 한도"),
    "spawn.left.none": ("no limit", "제한 없음"),
    "spawn.left.cpu": ("not counted", "차감 없음"),
    "spawn.left.user": ("you: {left} of {limit} GPU-hours left", "나: GPU {limit}시간 중 {left}시간 남음"),
    "spawn.left.team": ("{name}: {left} of {limit} GPU-hours left", "{name}: GPU {limit}시간 중 {left}시간 남음"),
    "spawn.left.over.user": ("you: {left} GPU-hours over {limit}", "나: GPU {limit}시간을 {left}시간 초과"),
    "spawn.left.over.team": (
        "{name}: {left} GPU-hours over {limit}",
        "{name}: GPU {limit}시간을 {left}시간 초과",
    ),
    "spawn.image": ("Image", "이미지"),
    "spawn.image.help": ("What the server is made from.", "서버를 만드는 환경입니다."),
    "spawn.image.only": ("{title} of this machine", "이 머신의 {title}"),
    "spawn.image.own": ("Another container image", "다른 컨테이너 이미지"),
    "spawn.image.own.help": (
        "A reference, as registry.example.com/team/tool:1.2; empty is the image from the list. It must run "
        "jupyterhub-singleuser. For: {names}.",
        "registry.example.com/team/tool:1.2 같은 이미지 주소입니다. 비워 두면 목록의 이미지를 씁니다. "
        "jupyterhub-singleuser를 실행하는 이미지여야 합니다. 쓸 수 있는 프로필: {names}.",
    ),
    "spawn.image.own.rule": (
        "A registry, a path in small letters, and a tag or digest: registry.example.com/team/tool:1.2",
        "레지스트리, 영문 소문자 경로, 태그나 다이제스트: registry.example.com/team/tool:1.2",
    ),
    "spawn.shm": ("Shared memory", "공유 메모리"),
    "spawn.volumes": ("Data", "데이터"),
    "spawn.volumes.read": ("read only", "읽기 전용"),
    "spawn.volumes.write": ("may be written to", "쓰기 가능"),
    "spawn.project": ("Project", "프로젝트"),
    "spawn.project.help": (
        "Costs are counted under it. May stay empty.",
        "비용이 이 이름으로 집계됩니다. 비워 두어도 됩니다.",
    ),
    # the turn
    "state.held": ("Your turn", "내 차례"),
    "wait.title.held": ("It is the turn of {name}", "{name}의 차례입니다"),
    "wait.held": ("It is your turn", "차례가 되었습니다"),
    "wait.held.more": (
        "A place for {profile} is held for you. Start now, or it goes to the next in line.",
        "{profile} 자리를 잡아 두었습니다. 지금 시작하지 않으면 다음 사람에게 넘어갑니다.",
    ),
    "wait.held.until": ("Held until", "보류 시한"),
    "wait.held.lease": ("Its time runs until", "사용 종료 예정"),
    "wait.held.start": ("Start now", "지금 시작"),
    "wait.waiting.hold": (
        "You can close this page; your place in line is kept. When your turn comes, a place is held for you for "
        "{minutes} minutes: start it then from here or from the home page.",
        "이 페이지를 닫아도 순서는 유지됩니다. 차례가 되면 {minutes}분 동안 자리를 잡아 둡니다. "
        "그때 이 페이지나 홈에서 시작하세요.",
    ),
    "wait.again": ("Ask again", "다시 요청"),
    "wait.other": ("Choose something else", "다른 것 고르기"),
    # what it waits for
    "waits.room": ("No room", "자리 없음"),
    "waits.order": ("Others before you", "앞선 요청"),
    "waits.user_quota": ("Your quota", "내 한도"),
    "waits.team_quota": ("Your team's quota", "팀 한도"),
    "waits.budget": ("Budget", "예산"),
    "waits.own_server": ("Your own server", "내 서버"),
    "waits.away": ("Not there now", "지금 없음"),
    "waits.never": ("Waiting does not help", "기다려도 시작되지 않음"),
    # the start
    "wait.steps": ("What happened so far", "진행 내역"),
    "wait.log": ("The end of the server's log", "서버 로그의 끝부분"),
    "wait.advice.start": (
        "Try again. If it fails twice, look at the log below: often a package in your folder is in the way. Or "
        "send an administrator the reason above.",
        "다시 시도하세요. 두 번 이상 실패하면 아래 로그를 확인하세요. 폴더에 설치한 패키지가 원인인 경우가 "
        "많습니다. 또는 위의 이유를 관리자에게 알려 주세요.",
    ),
    # receipts
    "receipt.title": ("Since you last looked", "지난번 이후"),
    "receipt.ended": ("{name} has ended", "{name}이(가) 종료되었습니다"),
    "receipt.broke": ("{name} has failed", "{name}이(가) 실패했습니다"),
    "receipt.uncertain": (
        "Nobody saw its end, so no time after that is charged. It ended at the latest:",
        "종료 시점을 아무도 확인하지 못해 위 시각 이후는 청구하지 않습니다. 늦어도 종료된 시각:",
    ),
    "receipt.saved": ("Saved: {names}", "저장됨: {names}"),
    "receipt.failed": ("Not saved: {names}", "저장하지 못함: {names}"),
    "receipt.more": ("{names} and {n} more", "{names} 외 {n}개"),
    "receipt.silent": (
        "Open pages that did not answer: {n}. What was unsaved there is unknown.",
        "응답하지 않은 페이지: {n}개. 그 페이지에 저장하지 않은 내용이 있었는지 알 수 없습니다.",
    ),
    "receipt.nothing": ("Nothing was open and unsaved.", "저장하지 않은 문서가 없었습니다."),
    "receipt.unknown": (
        "Open pages were not asked to save; what you had saved is in your folder.",
        "열려 있던 페이지에 저장을 요청하지 못했습니다. 저장해 둔 파일은 폴더에 있습니다.",
    ),
    "receipt.pages": ("{n} open pages were asked to save.", "열려 있던 페이지 {n}개에 저장을 요청했습니다."),
    "receipt.hook": ("Your own program for the end was run.", "종료할 때 실행하도록 한 프로그램을 실행했습니다."),
    "receipt.hook.failed": (
        "Your own program for the end did not succeed (exit code {exit}).",
        "종료할 때 실행하도록 한 프로그램이 실패했습니다(종료 코드 {exit}).",
    ),
    "receipt.details": ("See what happened", "자세히 보기"),
    "receipt.again": ("Start it again", "다시 시작"),
    "receipt.dismiss": ("Dismiss", "닫기"),
    "receipt.dismiss.named": ("Dismiss what is said of {name}", "{name} 안내 닫기"),
    "home.start.held": ("Start now", "지금 시작"),
    "home.held.until": ("held until", "보류 시한"),
}

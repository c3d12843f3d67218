"""Errors that the SDK itself finds, before or after it asks the portal."""

from __future__ import annotations

from typing import ClassVar

from dure.errors import DureError, Text


class NoPortal(DureError):
    """The SDK was not told where the portal is."""

    code, status = "no_portal", 400
    message: ClassVar[Text] = {
        "en": "DURE_URL is not set, so there is no portal to ask.",
        "ko": "DURE_URL이 설정되지 않아 어느 포털에 요청할지 알 수 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "In a notebook of the portal it is set. Elsewhere set it to the address you open in the browser, "
        "such as http://127.0.0.1:8000.",
        "ko": "포털의 노트북에서는 자동으로 설정됩니다. 다른 곳에서는 브라우저로 여는 주소를 설정하세요. "
        "예: http://127.0.0.1:8000",
    }


class CertificateNotTrusted(DureError):
    """The portal answers by https, with a certificate that this computer does not believe."""

    code, status = "certificate_not_trusted", 502
    message: ClassVar[Text] = {
        "en": "The certificate of {url} is not trusted here: {why}.",
        "ko": "이 컴퓨터는 {url}의 인증서를 신뢰하지 않습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Use the name that it is for; or, where it is from an authority of your own, set SSL_CERT_FILE to a "
        "PEM file with that authority's certificate.",
        "ko": "인증서에 적힌 이름으로 접속하세요. 자체 인증 기관이 발급했다면 그 기관의 인증서가 든 PEM 파일을 "
        "SSL_CERT_FILE에 지정하세요.",
    }


class NoToken(DureError):
    """The SDK has nothing to show who asks."""

    code, status = "no_token", 401
    message: ClassVar[Text] = {
        "en": "No token was found in DURE_TOKEN, DURE_TOKEN_FILE or JUPYTERHUB_API_TOKEN.",
        "ko": "DURE_TOKEN, DURE_TOKEN_FILE, JUPYTERHUB_API_TOKEN 어디에도 토큰이 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "In a notebook of the portal it is set. Elsewhere make one with `dure token` and set "
        "DURE_TOKEN_FILE to its file.",
        "ko": "포털의 노트북에서는 자동으로 설정됩니다. 다른 곳에서는 `dure token`으로 만들어 "
        "DURE_TOKEN_FILE에 그 파일을 지정하세요.",
    }


class TokenFileMissing(DureError):
    """DURE_TOKEN_FILE names a file that cannot be read."""

    code, status = "token_file_missing", 401
    message: ClassVar[Text] = {
        "en": "The token file {path} cannot be read: {why}.",
        "ko": "토큰 파일 {path}을(를) 읽을 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Correct DURE_TOKEN_FILE; the file holds one token and nothing else.",
        "ko": "DURE_TOKEN_FILE을 바로잡으세요. 파일에는 토큰 하나만 있어야 합니다.",
    }


class NotSelfContained(DureError):
    """A function to train uses names from its notebook, which the job will not have."""

    code, status = "not_self_contained", 422
    message: ClassVar[Text] = {
        "en": "{function} uses {names}, defined outside of it. The job gets the function alone: it imports "
        "what it needs in its own body, and gets values as parameters.",
        "ko": "{function} 함수가 바깥에서 정의된 {names}을(를) 사용합니다. 작업에는 함수만 전달되므로 "
        "필요한 import는 함수 안에 두고 값은 매개변수로 받아야 합니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Move imports and helpers into the body, pass values by parameters={{…}}, or write the code to a "
        'file and train that: dure.train("train.py").',
        "ko": "import와 보조 함수를 함수 안으로 옮기고 값은 parameters={{…}}로 넘기거나, 코드를 파일로 저장해 "
        'dure.train("train.py")로 학습하세요.',
    }


class NotTrainable(DureError):
    """The entry is neither a plain function with source nor a file."""

    code, status = "not_trainable", 422
    message: ClassVar[Text] = {
        "en": "{entry} cannot be trained: {why}.",
        "ko": "{entry}은(는) 학습할 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": 'Give a function written with `def`, or a file: "train.py" or "train.py:main".',
        "ko": '`def`로 쓴 함수나 파일("train.py" 또는 "train.py:main")을 넘기세요.',
    }


class MissingFile(DureError):
    """A file to send is not there."""

    code, status = "missing_file", 422
    message: ClassVar[Text] = {
        "en": "There is no file {path} in {folder}.",
        "ko": "{folder}에 {path} 파일이 없습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Paths count from the folder you work in; check the spelling. Nothing was sent.",
        "ko": "경로는 현재 작업 폴더를 기준으로 합니다. 철자를 확인하세요. 전송된 것은 없습니다.",
    }


class SnapshotTooLarge(DureError):
    """More code and data than one job may send."""

    code, status = "snapshot_too_large", 413
    message: ClassVar[Text] = {
        "en": "The files for this job have {size_mb} MiB; {limit_mb} MiB is the limit. Largest: {largest}.",
        "ko": "이 작업의 파일은 {size_mb} MiB로 한도 {limit_mb} MiB를 넘습니다. 가장 큰 파일: {largest}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name fewer files, or let the code read large data from where it lies.",
        "ko": "파일을 줄이거나, 큰 데이터는 코드에서 원래 위치의 것을 직접 읽게 하세요.",
    }


class JobDidNotSucceed(DureError):
    """`wait` saw the job's end, and it was not a good one."""

    code, status = "job_did_not_succeed", 409
    message: ClassVar[Text] = {
        "en": "The job {name} ended as {state}: {reason}. Last lines of its log:\n{tail}\n",
        "ko": "작업 {name}이(가) {state} 상태로 끝났습니다: {reason}. 로그의 마지막 줄:\n{tail}\n",
    }
    next_step: ClassVar[Text] = {
        "en": "job.logs() has the whole log.",
        "ko": "job.logs()로 전체 로그를 볼 수 있습니다.",
    }


class ExecutionDidNotSucceed(DureError):
    """`wait` saw the end of a schedule's execution, and it was not a good one."""

    code, status = "execution_did_not_succeed", 409
    message: ClassVar[Text] = {
        "en": "Execution {number} of {name} ended as {state}: {reason}.",
        "ko": "{name}의 {number}번째 실행이 {state} 상태로 끝났습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "execution.page shows the notebook up to there, execution.logs() what it printed.",
        "ko": "execution.page에서 그때까지 실행된 노트북을, execution.logs()에서 출력을 볼 수 있습니다.",
    }


class WaitedTooLong(DureError):
    """`wait(timeout)` gave up; the thing itself goes on."""

    code, status = "waited_too_long", 408
    message: ClassVar[Text] = {
        "en": "{kind} {name} is still {state} after {seconds} s.",
        "ko": "{kind} {name}이(가) {seconds}초가 지났지만 아직 {state} 상태입니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "It goes on by itself; call wait() again, or give a longer timeout.",
        "ko": "계속 진행 중입니다. wait()를 다시 부르거나 timeout을 늘리세요.",
    }


class EndpointFailed(DureError):
    """`wait` saw the endpoint fail."""

    code, status = "endpoint_failed", 409
    message: ClassVar[Text] = {
        "en": "The endpoint {name} did not become ready: {reason}.",
        "ko": "엔드포인트 {name}이(가) 준비되지 않았습니다: {reason}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Look at the version it should serve; rollback() or another deploy ends this state.",
        "ko": "서비스하려는 버전을 확인하세요. rollback()이나 새 배포로 해결할 수 있습니다.",
    }


class BadRows(DureError):
    """What was sent to a model is not what it takes."""

    code, status = "bad_rows", 400
    message: ClassVar[Text] = {
        "en": "{value} cannot be predicted on: {rule}.",
        "ko": "{value}에 대해 예측할 수 없습니다: {rule}.",
    }
    next_step: ClassVar[Text] = {
        "en": 'Send {{"inputs": {example}}}, one entry a row.',
        "ko": '{{"inputs": {example}}} 형식으로, 행마다 하나씩 보내세요.',
    }


class ModelFailed(DureError):
    """The model itself raised on rows of the right shape."""

    code, status = "model_failed", 422
    message: ClassVar[Text] = {
        "en": "{model} version {version} failed on these rows: {why}.",
        "ko": "{model} 버전 {version}이(가) 이 행에서 실패했습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Send rows like those it was trained on; other rows are not affected.",
        "ko": "학습에 쓴 것과 같은 형태의 행을 보내세요. 다른 행에는 영향이 없습니다.",
    }


class BadModelFolder(DureError):
    """A folder that cannot be served, or not safely."""

    code, status = "bad_model_folder", 422
    message: ClassVar[Text] = {
        "en": "{folder} cannot be served: {why}.",
        "ko": "{folder}은(는) 서비스할 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Save models with dure.context().save_model(...): it writes weights and graph without pickle.",
        "ko": "dure.context().save_model(...)로 저장하세요. pickle 없이 가중치와 그래프를 기록합니다.",
    }


class NotSavable(DureError):
    """A model, or the example of its rows, that could be saved only to be refused when it is served."""

    code, status = "not_savable", 422
    message: ClassVar[Text] = {
        "en": "The model cannot be saved: {why}.",
        "ko": "모델을 저장할 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "A model takes one array of rows and gives one tensor with an entry for each row: wrap it in a "
        "module whose forward() does so. ctx.save_checkpoint(...) keeps weights of every kind.",
        "ko": "모델은 행의 배열 하나를 받아 행마다 항목이 하나씩 있는 텐서 하나를 돌려줘야 합니다. "
        "그렇게 하는 forward()를 가진 모듈로 감싸세요. 가중치만은 ctx.save_checkpoint(...)로 남길 수 있습니다.",
    }


class NotTracked(DureError):
    """A model that was saved here and that MLflow did not take."""

    code, status = "not_tracked", 503
    message: ClassVar[Text] = {
        "en": "The model was saved to {folder}, but MLflow did not take it: {why}.",
        "ko": "모델을 {folder}에 저장했지만 MLflow에 기록하지 못했습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Save it again when MLflow answers; `dure status` on the portal's machine says what is missing.",
        "ko": "MLflow가 응답하면 save_model을 다시 부르세요. 포털 머신의 `dure status`가 원인을 알려 줍니다.",
    }


class NeedsTorch(DureError):
    """torch is not installed here."""

    code, status = "needs_torch", 501
    message: ClassVar[Text] = {
        "en": "This needs PyTorch, which is not installed here.",
        "ko": "PyTorch가 필요하지만 설치되어 있지 않습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Run `make install` without DURE_TORCH=none on the portal's machine, or ask whoever runs it.",
        "ko": "포털 머신에서 DURE_TORCH=none 없이 `make install`을 실행하거나 포털 관리자에게 문의하세요.",
    }


class NoOwnPython(DureError):
    """Asked for where nobody has one."""

    code, status = "no_own_python", 409
    message: ClassVar[Text] = {
        "en": "There is no Python of your own here: {why}.",
        "ko": "여기에는 내 파이썬 환경이 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "`dure env` works in a terminal or a notebook of a server that the portal has started.",
        "ko": "`dure env`는 포털이 시작한 서버의 터미널이나 노트북에서 동작합니다.",
    }


class OwnPythonFailed(DureError):
    """One's own Python could not be made."""

    code, status = "own_python_failed", 409
    message: ClassVar[Text] = {
        "en": "Your Python in {folder} could not be made: {why}.",
        "ko": "{folder}에 내 파이썬 환경을 만들 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "What was there is kept beside it. Look whether there is room left; the next start of your server "
        "tries again.",
        "ko": "이전 것은 옆에 보관되어 있습니다. 남은 공간을 확인하세요. 서버를 다시 시작하면 다시 만듭니다.",
    }


class NotConfirmed(DureError):
    """A reset that nobody has said yes to."""

    code, status = "not_confirmed", 409
    message: ClassVar[Text] = {
        "en": "Your Python was not reset: nobody has said yes.",
        "ko": "확인하지 않아 내 파이썬 환경을 초기화하지 않았습니다.",
    }
    next_step: ClassVar[Text] = {
        "en": "Nothing has changed. `dure env reset --yes` does not ask.",
        "ko": "바뀐 것은 없습니다. `dure env reset --yes`는 묻지 않고 초기화합니다.",
    }


class FileNotWritten(DureError):
    """A file of the reader's own that could not be written."""

    code, status = "file_not_written", 409
    message: ClassVar[Text] = {
        "en": "{path} could not be written: {why}.",
        "ko": "{path}을(를) 쓸 수 없습니다: {why}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Name a file in a folder of yours, and look whether there is room left. Nothing has changed.",
        "ko": "내 폴더 안의 파일을 지정하고 남은 공간을 확인하세요. 바뀐 것은 없습니다.",
    }

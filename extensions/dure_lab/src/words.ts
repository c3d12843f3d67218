// Everything people read, in English and Korean, and how figures and times are written.

export type Language = 'en' | 'ko';

const WORDS = {
  left: ['{time} left', '{time} 남음'],
  leftIdle: ['{time} left if unused', '사용하지 않으면 {time} 남음'],
  ending: ['ending now', '종료되는 중'],
  noEnd: ['no end', '종료 시각 없음'],
  unknown: ['unknown', '알 수 없음'],
  away: ['portal away', '포털 응답 없음'],
  server: ['Server {name} on {profile}: {left}. Details and actions', '서버 {name}, {profile}: {left}. 자세히 보기'],
  title: ['This server', '이 서버'],
  close: ['Close', '닫기'],
  profile: ['Profile', '프로필'],
  name: ['Name', '이름'],
  ends: ['Ends', '종료'],
  endsAt: ['{when} ({time} left)', '{when} ({time} 남음)'],
  idle: ['If unused', '사용하지 않으면'],
  idleAt: ['stops {when}', '{when}에 종료'],
  price: ['Price', '가격'],
  perHour: ['{price} an hour', '시간당 {price}'],
  use: ['In use', '사용량'],
  memory: ['Memory', '메모리'],
  processors: ['Processors', '프로세서'],
  gpuMemory: ['GPU memory', 'GPU 메모리'],
  gpu: ['GPU', 'GPU'],
  shared: ['Shared: figures are what this server uses of the GPU.', '공유 GPU: 이 서버가 쓰는 양입니다.'],
  of: ['{used} of {whole}', '{whole} 중 {used}'],
  extend: ['Extend', '연장'],
  extendHour: ['Extend by 1 h', '1시간 연장'],
  hours: ['+{hours} h', '+{hours}시간'],
  latest: ['Until {when}', '{when}까지'],
  extended: ['It now ends {when}.', '이제 {when}에 종료됩니다.'],
  more: ['More', '더 보기'],
  move: ['Move to another profile', '다른 프로필로 옮기기'],
  checkpoint: ['Save everything now', '지금 모두 저장'],
  stop: ['Stop now…', '지금 종료…'],
  sureTitle: ['Stop this server?', '서버를 종료할까요?'],
  sureText: [
    'Changed documents are saved first. Kernels and terminals end, and what is only in their memory is lost.',
    '변경된 문서를 먼저 저장합니다. 커널과 터미널은 종료되며 메모리에만 있는 내용은 사라집니다.'
  ],
  sure: ['Save and stop', '저장하고 종료'],
  keep: ['Keep it running', '계속 실행'],
  stopping: ['The server is stopping.', '서버를 종료하고 있습니다.'],
  again: ['Try again', '다시 시도'],
  noAnswer: [
    'The portal does not answer. Your server goes on; this page asks again in a minute.',
    '포털이 응답하지 않습니다. 서버는 계속 실행되며, 1분 뒤에 다시 확인합니다.'
  ],
  toastEnd: ['This server ends in {time}, {when}.', '이 서버는 {time} 뒤, {when}에 종료됩니다.'],
  toastIdle: ['Nobody uses this server; it stops {when}.', '이 서버를 아무도 쓰지 않아 {when}에 종료됩니다.'],
  toastStop: ['{why} It ends in {time}, {when}. Save your work until then.', '{why} {time} 뒤, {when}에 종료됩니다. 그때까지 작업을 저장하세요.'],
  gotIt: ['Mark as read', '읽음으로 표시'],
  using: ['I am using it', '사용 중입니다'],
  noted: ['Noted. It shows within two minutes.', '확인했습니다. 2분 안에 반영됩니다.'],
  saved: ['{count} changed documents were saved.', '변경된 문서 {count}개를 저장했습니다.'],
  savedNone: ['Nothing was unsaved.', '저장되지 않은 문서가 없습니다.'],
  unsaved: ['Not saved: {paths}', '저장하지 못함: {paths}'],
  endSoon: ['This server is about to stop.', '이 서버가 곧 종료됩니다.'],
  hookRan: ['Your before-stop program ended with {exit}.', 'before-stop 프로그램의 종료 코드: {exit}'],
  hookKilled: ['Your before-stop program did not end by itself.', 'before-stop 프로그램이 스스로 끝나지 않았습니다.'],
  show: ['Show time left and use of this server', '이 서버의 남은 시간과 사용량 보기'],
  openTutorial: ['Open the tutorial {name}', '튜토리얼 {name} 열기'],
  tutorial: ['Tutorial', '튜토리얼'],
  'first-model': ['First model', '첫 모델'],
  'first-model-widgets': ['First model by clicks', '클릭으로 만드는 첫 모델'],
  'my-own-code': ['My own code', '내 코드로 학습하기']
} as const satisfies Record<string, readonly [string, string]>;

export type Word = keyof typeof WORDS;

export class Words {
  constructor(readonly language: Language) {}

  /** The sentence of this name with its facts in it. */
  say(word: Word, facts: Record<string, string | number> = {}): string {
    const text: string = WORDS[word][this.language === 'ko' ? 1 : 0];
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(facts[name] ?? whole));
  }

  /** What a tutorial is called: in words where it is one of ours, else as its file. */
  tutorial(file: string): string {
    return file in WORDS ? this.say(file as Word) : file.replaceAll(/[-_]+/g, ' ');
  }

  /** A length of time as people say it: two units at most, seconds only in the last two minutes. */
  time(ms: number): string {
    const seconds = Math.max(Math.ceil(ms / 1000), 0);
    if (seconds < 120) {
      return this.unit(seconds, 'second');
    }
    const minutes = Math.floor(seconds / 60);
    const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
    if (days > 0) {
      return [this.unit(days, 'day'), hours ? this.unit(hours, 'hour') : ''].filter(Boolean).join(' ');
    }
    const rest = minutes % 60;
    return [hours ? this.unit(hours, 'hour') : '', rest || !hours ? this.unit(rest, 'minute') : '']
      .filter(Boolean)
      .join(' ');
  }

  /** A moment in the browser's own zone: the time of day, with the day where that is not today. */
  when(at: number, now: number): string {
    const day = isToday(at, now) ? {} : ({ month: 'short', day: 'numeric' } as const);
    return new Intl.DateTimeFormat(this.language, { ...day, hour: '2-digit', minute: '2-digit' }).format(at);
  }

  /** The same as a part of a sentence. */
  atWhen(at: number, now: number): string {
    const text = this.when(at, now);
    return this.language === 'en' ? `${isToday(at, now) ? 'at' : 'on'} ${text}` : text;
  }

  /** A sentence of the portal's with its times in the browser's zone. */
  withTimes(sentence: string): string {
    return sentence.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, time => this.when(Date.parse(time), Date.now()));
  }

  /** MiB as people read them. */
  size(mb: number): string {
    return mb < 1024 ? `${mb} MiB` : `${number(mb / 1024, this.language)} GiB`;
  }

  /** A number of processors, in cores. */
  cores(count: number): string {
    return number(count, this.language);
  }

  /** A share from 0 to 1. */
  share(part: number): string {
    return new Intl.NumberFormat(this.language, { style: 'percent' }).format(part);
  }

  private unit(count: number, unit: 'day' | 'hour' | 'minute' | 'second'): string {
    if (this.language === 'ko') {
      return `${count}${{ day: '일', hour: '시간', minute: '분', second: '초' }[unit]}`;
    }
    const short = { day: count === 1 ? 'day' : 'days', hour: 'h', minute: 'min', second: 's' };
    return `${count} ${short[unit]}`;
  }
}

function isToday(at: number, now: number): boolean {
  return new Date(at).toDateString() === new Date(now).toDateString();
}

function number(value: number, language: Language): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(value);
}

/** Korean or English: what Lab is set to, where it is set; else what the server is. */
export function languageOf(lab: string, server: string | undefined): Language {
  const code = lab.toLowerCase();
  if (code.startsWith('ko')) {
    return 'ko';
  }
  return (code === '' || code === 'default' || code === 'en') && server === 'ko' ? 'ko' : 'en';
}

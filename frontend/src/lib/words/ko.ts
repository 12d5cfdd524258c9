import type { Words } from "../words";

export const ko: Words = {
  pageTitle: (state, service) => `${state} · ${service}`,
  looking: "잠시만요…",

  start: {
    title: "지갑으로 로그인",
    text: "비밀번호 없이 지갑에서 승인하면 돼요.",
    open: "지갑에서 열기",
    opening: "여는 중…",
    or: "또는",
    elsewhere: "지갑이 다른 컴퓨터에 있나요?",
    label: "핸들",
    hint: "지갑에서 정한 이름이에요",
    go: "계속",
    going: "요청하는 중…",
    empty: "핸들을 먼저 입력하세요.",
    malformed: "핸들은 영문자, 숫자, -, _ 로 된 3~32자예요. 처음과 끝은 영문자나 숫자여야 해요.",
  },
  notes: {
    bad_handle: "받아들일 수 없는 핸들이에요. 지갑에 적힌 그대로인지 확인하세요.",
    not_offered: "여기서는 지갑을 바로 열 수 없어요. 대신 핸들을 입력하세요.",
    refused: "서비스가 이 요청을 받지 않았어요. 사라진 것은 없으니 새로 고친 뒤 다시 시도하세요.",
    gone: "앞서 보낸 요청은 이제 없어요. 다시 시작하세요.",
    cookie_lost:
      "승인은 되었지만 이 브라우저에 로그인이 남지 않았어요. 이 사이트의 쿠키를 허용하고 다시 시작하세요.",
    not_continued: "중단했어요. 이 브라우저에는 아무도 로그인되지 않았어요.",
    left: "로그아웃했어요.",
  },

  waiting: {
    title: "지갑에 이 숫자를 입력하세요",
    text: "지갑에서 이 숫자를 물어볼 거예요.",
    number: (digits) => `숫자: ${digits}`,
    left: (time) => `${time} 남음`,
    leftSpoken: (seconds) => (seconds >= 60 ? "1분 남았어요" : `${seconds}초 남았어요`),
    over: "시간이 다 됐어요",
    cancel: "취소",
    sentTo: "받는 지갑",
    nothingThere: "요청이 안 보이나요? 지갑이 켜져 있는지, 내 핸들이 맞는지 확인하세요.",
    takenBack: "승인을 되돌렸어요. 숫자는 그대로 쓸 수 있어요.",
    lost: "연결이 끊겨 다시 연결하는 중이에요…",
    live: "다시 연결됐어요",
  },
  linked: {
    asked: { title: "지갑을 확인하세요", text: "계속할지 지갑에서 물어볼 거예요." },
    silent: {
      title: "지갑이 열리지 않았나요?",
      text: "사라진 것은 없어요. 다시 열거나 다른 방법을 쓰세요.",
    },
    claimed: {
      title: "지갑에 요청이 도착했어요",
      text: "누가 무엇을 요청하는지 지갑에서 읽고 승인하세요.",
    },
  },
  linkedWays: {
    open: "지갑에서 열기",
    again: "다시 열기",
    restart: "다시 시작",
    handle: "대신 핸들 쓰기",
    get: "이 컴퓨터에 지갑이 없나요? 받는 방법은 MiID README에 있어요.",
    takenBack: "승인을 되돌렸어요. 다시 승인할 수 있어요.",
  },
  comingBack: {
    title: "승인됐어요",
    text: "브라우저가 알아서 여기로 돌아와요.",
    as: "승인한 신원",
    help: "아무 일도 없나요? 지갑에서 브라우저를 다시 여세요. 다른 브라우저가 열리면 그 브라우저에서 다시 시작하세요.",
  },
  returning: {
    title: "지갑에서 돌아왔어요",
    text: "잠시만요…",
    as: "승인한 신원",
  },
  confirm: {
    short: "계속할까요?",
    title: (who) => `${who} 신원으로 계속할까요?`,
    text: "다른 페이지를 거쳐 여기로 왔어요. 방금 내 지갑에서 직접 승인했을 때만 계속하세요.",
    go: "계속",
    stop: "아니요, 중단",
  },
  stopped: {
    title: "로그인이 중단됐어요",
    text: "다른 브라우저에서 시작된 로그인이라 아무도 로그인되지 않았어요. 직접 시작했다면 이 브라우저에서 다시 시작하세요.",
  },
  confirmed: {
    title: "확인했어요",
    text: "시작한 탭에서 알아서 이어져요. 이 탭은 닫아도 돼요.",
    stay: "여기서 내 페이지 보기",
  },
  lapsed: {
    title: "더는 돌아올 수 없는 주소예요",
    text: "승인을 되돌렸거나, 시간이 지났거나, 이미 쓴 주소예요. 이 주소로는 아무도 로그인되지 않았어요. 다시 시작하세요.",
  },
  approved: {
    title: "승인했어요",
    text: "로그인하는 중이에요…",
    cancel: "취소",
  },

  again: "다시 시작",
  denied: {
    declined: {
      title: "지갑에서 거절했어요",
      text: "아무도 로그인되지 않았어요. 잘못 눌렀다면 다시 시작하세요.",
    },
    wrong_match_code: {
      title: "숫자가 달라요",
      text: "지갑에 다른 숫자가 입력되어 로그인하지 않았어요. 다시 시작하면 새 숫자가 나와요.",
    },
    other: {
      title: "요청이 거절됐어요",
      text: "아무도 로그인되지 않았어요. 다시 시작하면 새 요청을 보내요.",
    },
  },
  expired: {
    timeout: {
      title: "시간이 지났어요",
      text: "제때 승인되지 않아 아무도 로그인되지 않았어요. 다시 시작하면 새 요청을 보내요.",
    },
    code_timeout: {
      title: "승인했지만 마치지 못했어요",
      text: "승인은 되었지만 이 페이지가 제때 마무리하지 못해 로그인되지 않았어요. 다시 시작하세요.",
    },
    replaced: {
      title: "새 요청으로 바뀌었어요",
      text: "이 브라우저에서 로그인을 새로 시작했어요. 그쪽에서 이어 가거나 여기서 다시 시작하세요.",
    },
    withdrawn: {
      title: "요청이 취소됐어요",
      text: "아무도 로그인되지 않았어요. 준비되면 다시 시작하세요.",
    },
    other_browser: {
      title: "안전을 위해 중단했어요",
      text: "누군가 이 로그인을 다른 브라우저에서 열어 중단했어요. 다시 시작하세요.",
    },
    session_ended: {
      title: "세션이 끝났어요",
      text: "승인을 기다리던 일도 함께 끝났고, 처리된 것은 없어요. 다시 로그인하세요.",
    },
    other: {
      title: "요청이 끝났어요",
      text: "아무도 로그인되지 않았어요. 다시 시작하세요.",
    },
  },

  crowded: {
    handle: {
      title: "열린 요청이 너무 많아요",
      text: "누군가 이 핸들로 자주 요청하고 있어요. ‘지갑에서 열기’는 그대로 쓸 수 있어요.",
    },
    address: {
      title: "시도가 너무 많아요",
      text: "방금 이 네트워크에서 로그인을 여러 번 시작했어요. 사라진 것은 없어요.",
    },
    wait: (time) => `${time} 뒤에 다시 시도할 수 있어요.`,
    now: "이제 다시 시도할 수 있어요.",
    retry: "다시 시도",
    change: "다른 핸들 쓰기",
  },
  unreachable: {
    gateway: {
      title: "로그인 서버가 응답하지 않아요",
      text: "사라진 것은 없어요. 알아서 다시 시도할게요.",
    },
    offline: {
      title: "인터넷에 연결되어 있지 않아요",
      text: "사라진 것은 없어요. 다시 연결되면 이어서 진행해요.",
    },
    wait: (time) => `${time} 뒤 다시 시도`,
    trying: "다시 시도하는 중…",
    now: "지금 시도",
    cancel: "취소",
  },

  signedIn: {
    title: (name) => (name ? `${name}\u00a0님, 로그인했어요` : "로그인했어요"),
    short: "로그인됨",
    text: "여기서든 지갑에서든 언제나 끝낼 수 있어요.",
    identity: "신원",
    copy: "내 신원 복사",
    copied: "복사했어요",
    shared: (service) => `${service}에 공유한 정보`,
    notShared: "공유하지 않음",
    session: "이 세션",
    since: "시작",
    until: "자동 종료",
    leave: "로그아웃",
    leaving: "로그아웃하는 중…",
    leaveFailed: "서비스가 응답하지 않아 아직 로그인되어 있어요. 다시 시도하세요.",
  },
  transfer: {
    balance: "잔액",
    looking: "확인하는 중…",
    away: "응답 없음",
    lookAgain: "다시 시도",
    title: "이체",
    to: "받는 사람",
    amount: "금액",
    largeHint: (least) => `${least}부터는 지갑에서 한 번 더 물어요.`,
    smallHint: "이 페이지가 연결되어 있는 동안 이체할 수 있어요.",
    send: "이체",
    sending: "보내는 중…",
    nameMissing: "받는 사람을 먼저 입력하세요.",
    nameBad: "이름은 보이는 글자로 40자까지예요.",
    amountBad: "1에서 1,000,000까지의 자연수를 입력하세요.",

    asked: "지갑에서 확인하세요",
    what: (amount, to) => `${to}에게 ${amount} 이체`,
    number: "지갑에 이 숫자를 입력하세요",
    open: "지갑에서 열기",
    again: "다시 열기",
    restart: "다시 요청",
    hint: {
      asked: "큰 금액이라 한 번 더 물어요. 로그인은 그대로예요.",
      silent: "지갑이 열리지 않았나요? 아직 보낸 것은 없어요.",
      claimed: "지갑이 받았어요. 무엇을 묻는지 읽고 승인하세요.",
    },
    takenBack: "승인을 되돌렸어요. 다시 승인할 수 있어요.",
    approved: "승인했어요. 지금 보내는 중이에요…",
    comingBack: "승인했어요. 브라우저가 알아서 돌아와요…",
    comingBackHelp: "아무 일도 없나요? 지갑에서 브라우저를 다시 여세요.",
    unreachable: "서비스가 응답하지 않아요. 보낸 것은 없고, 알아서 다시 시도할게요.",
    cancel: "취소",

    done: (amount, to) => `${to}에게 ${amount} 보냈어요.`,
    notes: {
      invalid: "보낼 수 없는 내용이에요. 이름과 금액을 확인하세요. 보낸 것은 없어요.",
      funds: "잔액보다 많아요. 보낸 것은 없어요.",
      not_connected:
        "이 페이지가 연결되어 있을 때만 되는데, 끊겨 있었어요. 보낸 것은 없으니 잠시 뒤 다시 시도하세요.",
      crowded:
        "이미 기다리는 요청이 너무 많아요. 보낸 것은 없으니 지갑에서 답하거나 나중에 다시 시도하세요.",
      away: "계좌가 응답하지 않아요. 보낸 것은 없으니 잠시 뒤 다시 시도하세요.",
      unknown: "답을 받지 못해 보냈는지 알 수 없어요. 다시 시도하기 전에 잔액을 확인하세요.",
      cancelled: "취소했어요. 보낸 것은 없어요.",
      gone: "그 요청은 이제 없어요. 보낸 것은 없으니 다시 보내세요.",
      not_accepted: "승인이 인정되지 않았어요. 보낸 것은 없으니 다시 보내세요.",
      elsewhere: "다른 탭에서 이어졌어요. 잔액을 확인하세요.",
      refused: "서비스가 받아들이지 않았어요. 보낸 것은 없으니 페이지를 새로 고쳐 다시 시도하세요.",
    },
    denied: {
      declined: "지갑에서 거절했어요. 보낸 것은 없어요.",
      wrong_match_code:
        "지갑에 다른 숫자가 입력됐어요. 보낸 것은 없으니 다시 보내 새 숫자를 받으세요.",
      other: "지갑에서 거절됐어요. 보낸 것은 없어요.",
    },
    expired: {
      timeout: "제때 승인되지 않았어요. 보낸 것은 없어요.",
      code_timeout: "승인했지만 이 페이지가 제때 마치지 못했어요. 보낸 것은 없어요.",
      replaced: "그사이 다른 이체를 요청했어요. 이것은 보내지 않았어요.",
      withdrawn: "요청이 취소됐어요. 보낸 것은 없어요.",
      other_browser: "누군가 이 요청을 다른 브라우저에서 열어 중단했어요. 보낸 것은 없어요.",
      session_ended: "세션이 끝났어요. 보낸 것은 없어요.",
      other: "요청이 끝났어요. 보낸 것은 없어요.",
    },
  },
  claims: {
    name: "이름",
    email: "이메일",
    nickname: "별명",
    phone: "전화번호",
  },

  signedOut: {
    title: "로그아웃됐어요",
    again: "다시 로그인",
    when: (time) => `${time}에 `,
    why: {
      user: (_, when) => `${when}지갑에서 이 세션을 종료했어요.`,
      retired: (_, when) =>
        `${when}지갑에서 이 신원을 폐기했어요. 이제 어디에서도 로그인할 수 없어요.`,
      service: (service, when) => `${when}${service}에서 이 세션이 종료됐어요.`,
      superseded: (_, when) => `${when}다른 곳에서 로그인했어요. 세션은 한 번에 하나만 유지돼요.`,
      expired: (_, when) => `${when}세션 기간이 끝났어요.`,
      admin: (_, when) => `${when}운영자가 이 세션을 종료했어요.`,
      refresh_reuse: (_, when) =>
        `${when}안전을 위해 세션을 종료했어요. 세션의 열쇠 하나가 두 번 쓰였어요.`,
      code_reuse: (_, when) =>
        `${when}안전을 위해 세션을 종료했어요. 같은 로그인이 두 번 쓰였어요.`,
      other: (_, when) => `${when}이 세션이 끝났어요.`,
    },
  },
};

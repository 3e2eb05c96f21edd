/** The one door to the judges of requests and answers (docs/egress.md 1): the gateway imports from here. All of it is pure. */

export { archivesNamed, isKeepable } from './wire/archive-digests.ts'
export { judgeBody, judgeBodyInTurns } from './wire/body.ts'
export { countTold } from './wire/count.ts'
export { judgeHead } from './wire/head.ts'
export { passAnswerHeaders } from './wire/headers/answer-headers.ts'
export { judgePush } from './wire/pushes.ts'
export { refusalFor } from './wire/refusal.ts'
export { isRegistryPage, registryPage } from './wire/registry-answers.ts'

/**
 * `/approve/<secret>`: the page behind a link that a push, a mail or a webhook brought (docs/safety.md 11). One page for one thing that
 * waits: who, what, why, and two buttons. It needs no script and nothing from elsewhere, and fits a phone.
 *
 * L1. GET, HEAD and whatever fetches ahead change nothing. Only a POST with the one-time field of the page answers (stop-proof.ts).
 * L2. The secret is good for one approval until that is over. Its holder can do nothing else, and is recorded as what came by the link.
 * L3. What is typed in is stored and shown, so the value of a secret in it is refused, as at every entrance (S1-63).
 * L4. Wrong secrets get the same answer, recorded and slowed by a back-off. The right one never waits for them.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Redaction } from '../../base/redaction.ts'
import { shownLines } from '../../base/shown-text.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Approval } from '../../guard/operator/approval-rows.ts'
import { factLines, isOfAgent, recordEffect } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import type { Principal } from '../../guard/principal.ts'
import { SILENCE } from '../../protocol/approval.ts'
import { askedWords, tierWords } from '../../protocol/asked-words.ts'
import { spanText } from '../../protocol/spans.ts'
import { barePage, barePageHeaders, escaped } from './bare-page.ts'
import type { LoopbackPlugin } from './loopback.ts'
import { createOnces } from './stop-proof.ts'
import { BEARER_TRIES, createWrongTries, othersText } from './wrong-tries.ts'

const LINK: Principal = Object.freeze({ kind: 'device', id: 'link', rights: Object.freeze(['approve']) })
const NOBODY: Principal = Object.freeze({ kind: 'device', id: 'unknown' })
const BODY_BYTES_MAX = 8192
const ANSWER_MAX = 1000

const CSS = `
:root{color-scheme:light dark;--ink:#16181d;--soft:#5b616e;--paper:#f6f7f9;--card:#fff;--edge:#c9ced8;--yes:#14733a;--no:#b00d27}
@media(prefers-color-scheme:dark){:root{--ink:#f2f4f7;--soft:#a4abb8;--paper:#0e1014;--card:#181b21;--edge:#3a414d;--yes:#1d8a48;--no:#c81f3a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;padding:1rem;background:var(--paper);color:var(--ink);font:1.05rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:34rem;margin:0 auto;padding:1.25rem;border:1px solid var(--edge);border-radius:1rem;background:var(--card)}
h1{margin:0 0 .75rem;font-size:1.4rem;line-height:1.25}
pre{margin:0 0 1rem;padding:.75rem;border:1px solid var(--edge);border-radius:.6rem;white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}
dl{margin:0 0 1rem;color:var(--soft);font-size:.95rem;overflow-wrap:anywhere}
dt{font-weight:600}dd{margin:0 0 .4rem;white-space:pre-line}
.wish{margin:0 0 .75rem;font-weight:600;font-size:1.15rem;line-height:1.35;overflow-wrap:anywhere}
.soft{margin:0 0 .25rem;color:var(--soft);font-size:.95rem}
form+.soft{margin-top:1rem}
details{margin-top:.75rem;color:var(--soft)}summary{padding:.5rem 0;cursor:pointer}details dl{margin:.25rem 0 0}
label{display:block;margin-bottom:1rem}
input{display:block;width:100%;margin-top:.25rem;padding:.7rem;border:1px solid var(--edge);border-radius:.6rem;background:var(--paper);color:inherit;font:inherit}
.two{display:flex;gap:.75rem}
button{flex:1;min-height:3.25rem;border:0;border-radius:.75rem;color:#fff;font:600 1.1rem/1 system-ui,sans-serif;cursor:pointer}
.yes{background:var(--yes)}.no{background:var(--no)}
:focus-visible{outline:.2rem solid var(--ink);outline-offset:.2rem}
`
const HEADERS = barePageHeaders(CSS)

function pageOf(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${CSS}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
${body}
</main>
</body>
</html>
`
}

type Fact = readonly [string, string | null]
const list = (rows: readonly Fact[]): string => {
  const shown = rows.flatMap(([name, value]) =>
    value === null || value === '' ? [] : [`<dt>${escaped(name)}</dt><dd>${escaped(shownLines(value))}</dd>`],
  )
  return shown.length === 0 ? '' : `<dl>${shown.join('')}</dl>`
}

/** What is asked, with its two buttons; below them what tells it from every other act. `leftMs`: by the work clock. */
function askPage(approval: Approval, leftMs: number, once: string): string {
  const { who, what, wish } = askedWords(approval)
  const { kind, principal, operation, resource, agent, task, bound, act, question, onTimeout, id } = approval
  const isTool = kind === 'tool'
  const isQuestion = isOfAgent(kind) || kind === 'budget'
  const upper = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)
  const asked =
    wish === null
      ? `<pre>${escaped(shownLines(what))}</pre>`
      : `<p class="wish">${escaped(shownLines(upper(wish)))}</p>
<p class="soft">The rule says why:</p>
<pre>${escaped(shownLines(question))}</pre>`
  const exact: Fact[] = isQuestion
    ? [
        ['Task', task],
        ['What it can do', isTool ? upper(tierWords(approval)) : null],
      ]
    : [
        ['Asked by', principal],
        ['Operation', `${operation} on ${resource}`],
        ['What it can do', upper(tierWords(approval))],
        ['Task', task],
        ['Fingerprint of exactly this', act],
      ]
  return pageOf(
    kind === 'budget' ? 'More money?' : isQuestion ? `Agent ${who} asks you` : 'A rule asks you',
    `${asked}
${list([...(isQuestion ? [] : [['Agent', agent] as const]), ['What it is about', isQuestion && !isTool ? null : factLines(bound).join('\n')]])}
<form method="post">
<input type="hidden" name="once" value="${escaped(once)}">
<label>Say more, if you like<input name="text" maxlength="${ANSWER_MAX}" autocomplete="off"></label>
<div class="two"><button class="yes" name="answer" value="yes">Yes</button><button class="no" name="answer" value="no">No</button></div>
</form>
<p class="soft">It waits ${escaped(spanText(leftMs))} more, while the hub may start work; ${escaped(SILENCE[onTimeout])}.</p>
<details><summary>What exactly</summary>
${list([...exact, ['Approval', id]])}
</details>`,
  )
}

/** What comes of the answer. */
function whatFollows({ kind, operation, principal }: Approval, approve: boolean): string {
  if (isOfAgent(kind)) return 'The agent hears your answer.'
  if (kind === 'budget')
    return approve
      ? 'The limit of this task is raised by that amount, once. It goes on by itself.'
      : 'The limit stays. What does not fit below it is refused.'
  if (operation === 'task.dispatch')
    return approve ? 'The task may start. It does so by itself.' : 'The task has ended.'
  const who = principal.startsWith('agent:') ? `Agent ${principal.slice('agent:'.length).split('/')[0]}` : principal
  if (principal.startsWith('agent:'))
    return approve ? `${who} hears of it, and may do exactly this once.` : `${who} hears of it, and is refused.`
  if (!approve) return 'It does not happen.'
  return principal === 'operator'
    ? 'Run the same command once more: it is then done, once.'
    : `${who} may do exactly this once, and has to try again.`
}

/** How one ended that this page cannot answer any more. */
function overWords({ state, ending, answeredBy }: Approval): string {
  if (ending === 'over') return 'What it was for has ended.'
  if (ending === 'superseded') return 'What it was about has changed since. If it is still wanted, a new message asks.'
  if (ending === 'timed_out')
    return answeredBy === null
      ? 'Nobody answered in time, which is a no.'
      : 'The answer was yes, but it was not used in time.'
  return state === 'refused' ? 'The answer was no.' : 'The answer was yes.'
}

const saying = (title: string, text: string): string => pageOf(title, `<p>${escaped(text)}</p>`)

export function answerLink(parts: {
  approvals: Pick<Approvals, 'linked' | 'answer' | 'leftMs'>
  gate: Gate
  clock: Clock
  random: Random
  /** What follows from an answer, in its transaction; further words for the record. */
  settle: (grant: Grant, approval: Approval) => string
  redaction: Pick<Redaction, 'value' | 'secretIn'>
  /** Makes known what was put into the folder of secrets since. */
  learnSecrets: () => void
}): LoopbackPlugin {
  const { approvals, gate, clock, random, settle, redaction, learnSecrets } = parts
  const tries = createWrongTries(BEARER_TRIES, clock)
  const onces = createOnces(random)
  const callOf = (principal: Principal, id: string, approve: boolean) =>
    ({ principal, operation: 'approval.answer', resource: `approval:${id}`, restricts: !approve }) as const

  function refused(reply: FastifyReply) {
    const { retryAfterMs, record } = tries.wrong('')
    if (record !== undefined)
      gate.refuse(
        callOf(NOBODY, 'unknown', false),
        new HubError('unauthenticated', '', { reason: `a wrong link to an approval${othersText(record)}` }),
      )
    return reply
      .code(403)
      .header('retry-after', String(Math.ceil(retryAfterMs / 1000)))
      .send(
        saying(
          'Not a valid link',
          'This link leads to nothing that waits for an answer. Nothing was done. Use the link of the newest message, or `hub approval list` at the machine.',
        ),
      )
  }

  function press(approval: Approval, form: URLSearchParams): string {
    const approve = form.get('answer') === 'yes'
    const text = (form.get('text') ?? '').slice(0, ANSWER_MAX)
    learnSecrets()
    const name = redaction.secretIn(text)
    if (name !== undefined) {
      const error = new HubError('schema_invalid', `the answer holds the value of the secret ${name}; say it without`)
      gate.refuse(callOf(LINK, approval.id, approve), error)
      return saying('Nothing was done', error.message)
    }
    try {
      gate.admit(callOf(LINK, approval.id, approve), (grant) => {
        const answered = approvals.answer(grant, approval.id, approve, text)
        const follows = settle(grant, answered)
        return { auditEffect: recordEffect(answered, follows) }
      })
      return saying(approve ? 'You said yes' : 'You said no', whatFollows(approval, approve))
    } catch (thrown) {
      return saying('Nothing was done', toHubError(thrown).message)
    }
  }

  async function answer(request: FastifyRequest, reply: FastifyReply) {
    void reply.headers(HEADERS)
    const [path = ''] = (request.raw.url ?? '').split('?', 1)
    const found = approvals.linked(path.slice('/approve/'.length))
    if (found === undefined) return refused(reply)
    const leftMs = approvals.leftMs(found)
    if (leftMs === null)
      return reply.send(
        saying('Nothing to answer any more', `${overWords(found)} A link answers once; nothing was done now.`),
      )
    const form = new URLSearchParams(typeof request.body === 'string' ? request.body : '')
    const isAnswer = form.get('answer') === 'yes' || form.get('answer') === 'no'
    if (request.method === 'POST' && isAnswer && onces.take(form.get('once') ?? undefined))
      return reply.send(press(found, form))
    return reply.send(askPage(redaction.value(found), leftMs, onces.give()))
  }

  return barePage({ path: '/approve', urls: ['/approve/*'], bodyBytesMax: BODY_BYTES_MAX }, answer)
}

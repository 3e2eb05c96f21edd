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
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Approval } from '../../guard/operator/approval-rows.ts'
import { factsText } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import type { Principal } from '../../guard/principal.ts'
import { askedWords, SILENCE } from '../../protocol/approval.ts'
import { spanText } from '../../protocol/spans.ts'
import { answeredEffect } from '../routes/approvals.ts'
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
dt{font-weight:600}dd{margin:0 0 .4rem}
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

/** What is asked, with its two buttons. `leftMs`: by the work clock. */
function askPage(approval: Approval, leftMs: number, once: string): string {
  const { who, what } = askedWords(approval)
  const rows: [string, string | null][] = [
    ['Asked by', approval.principal],
    [
      'Waits for at most',
      `${spanText(leftMs)} of the time in which the hub may start work; ${SILENCE[approval.onTimeout]}`,
    ],
    ['Tier', approval.tier],
    ['Agent', approval.agent],
    ['Task', approval.task],
    ['About', factsText(approval.bound) || null],
    ['Act', approval.act],
  ]
  const facts = rows.flatMap(([name, value]) =>
    value === null ? [] : [`<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`],
  )
  return pageOf(
    approval.kind === 'ask_user' ? `Agent ${who} asks you` : 'A rule asks you',
    `<pre>${escaped(what)}</pre>
<dl>${facts.join('')}</dl>
<form method="post">
<input type="hidden" name="once" value="${escaped(once)}">
<label>Say more, if you like<input name="text" maxlength="${ANSWER_MAX}" autocomplete="off"></label>
<div class="two"><button class="yes" name="answer" value="yes">Yes</button><button class="no" name="answer" value="no">No</button></div>
</form>`,
  )
}

/** What comes of the answer. */
function whatFollows({ kind, operation, principal }: Approval, approve: boolean): string {
  if (kind === 'ask_user') return 'The agent hears your answer.'
  if (operation === 'task.dispatch')
    return approve ? 'The task may start. It does so by itself.' : 'The task has ended.'
  if (principal.startsWith('agent:'))
    return approve
      ? `${principal} hears of it, and may do exactly this once.`
      : `${principal} hears of it, and is refused.`
  return approve ? `${principal} may do exactly this once, and has to try again.` : `${principal} is refused.`
}

const saying = (title: string, text: string): string => pageOf(title, `<p>${escaped(text)}</p>`)

export function answerLink(parts: {
  approvals: Pick<Approvals, 'linked' | 'answer' | 'leftMs'>
  gate: Gate
  clock: Clock
  random: Random
  /** What follows from an answer, in its transaction. */
  settle: (grant: Grant, approval: Approval) => void
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
        settle(grant, answered)
        return { auditEffect: answeredEffect(answered) }
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
    if (leftMs === null) {
      const how = found.ending ?? found.state
      return reply.send(
        saying('Nothing to answer any more', `It is over: ${how.replace('_', ' ')}. A link answers once.`),
      )
    }
    const form = new URLSearchParams(typeof request.body === 'string' ? request.body : '')
    const isAnswer = form.get('answer') === 'yes' || form.get('answer') === 'no'
    if (request.method === 'POST' && isAnswer && onces.take(form.get('once') ?? undefined))
      return reply.send(press(found, form))
    return reply.send(askPage(redaction.value(found), leftMs, onces.give()))
  }

  return barePage({ path: '/approve', urls: ['/approve/*'], bodyBytesMax: BODY_BYTES_MAX }, answer)
}

/** What a decision costs by itself, remembered and not, what the audit log writes and verifies, and a look at the metrics. The store is real, on disk, with FULL. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalText } from '../../hub/base/canonical.ts'
import { OPERATOR, type Principal } from '../../hub/guard/principal.ts'
import { openGuardHome } from '../support/guard-home.ts'
import { writeHomeRules } from '../support/policy-fixture.ts'
import type { Figure } from './run.ts'
import { AGENTS, benchScrape } from './scrape.ts'
import { benchTracingOff } from './tracing-off.ts'

const SPAN_MS = 1500
const GROUP = 256
const authority = {
  capabilities: [],
  message: ['echo'],
  delegate: [],
  topics: [],
  secrets: [],
  egress: [],
  ttlMs: 1000,
  depthLeft: 1,
  tasksLeft: 1,
}
const sender = (session: number): Principal => ({
  kind: 'agent',
  id: 'survey-reader',
  agent: 'survey-reader',
  session: `s${session}`,
  generation: 1,
  authority,
})
const input = (principal: Principal, type: string) => ({
  operation: 'message.send',
  principal,
  resource: { kind: 'request', type, to: { agent: 'echo' }, relation: 'none' },
  mode: 'normal',
})
const round = (value: number, digits = 0) => Math.round(value * 10 ** digits) / 10 ** digits

/** Calls `work` in groups for the span; answers how often a second, and each call's time in ms. */
function rate(work: (n: number) => void, group: (inside: () => void) => void): { perSecond: number; p99Ms: number } {
  const times: number[] = []
  let n = 0
  const startedAt = performance.now()
  while (performance.now() - startedAt < SPAN_MS) {
    group(() => {
      for (let each = 0; each < GROUP; each += 1) {
        const at = performance.now()
        work(n)
        times.push(performance.now() - at)
        n += 1
      }
    })
  }
  const seconds = (performance.now() - startedAt) / 1000
  times.sort((a, b) => a - b)
  return { perSecond: n / seconds, p99Ms: times[Math.floor(times.length * 0.99)] ?? Number.NaN }
}

/** Rules of an operator: three that look at every question, two of them at lists. */
const HOME_RULES = `
quiet := {"survey-lead", "shell-wordcount"}

deny contains "not to these" if {
	input.operation == "message.send"
	input.resource.to.agent in quiet
}

ask contains "a person must see this" if {
	input.operation in {"token.create", "device.add", "keys.rotate"}
	input.principal.kind != "hub"
}

narrow contains {"ttlMs": 600000} if input.operation == "task.dispatch"
`
const RELOADS = 40
const CALLS_BETWEEN = 250

/** Messages through the gate while data and rules are read again and again: how many of them were refused. */
function reloadUnderLoad({ guard, folder }: ReturnType<typeof openGuardHome>): { asked: number; refused: number } {
  const file = join(folder, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(file, 'utf8'))
  let [asked, refused] = [0, 0]
  for (let turn = 0; turn < RELOADS; turn += 1) {
    data.agents.drill.ttlMs = 600_000 + turn
    writeFileSync(file, JSON.stringify(data))
    writeHomeRules({ dataPath: file }, HOME_RULES)
    guard.rules.reload()
    for (let n = 0; n < CALLS_BETWEEN; n += 1) {
      const { operation, principal, resource: facts } = input(sender(n % 8), 'bench.work')
      asked += 1
      try {
        guard.gate.admit({ principal, operation: 'message.send', resource: operation, facts }, () => undefined)
      } catch {
        refused += 1
      }
    }
  }
  return { asked, refused }
}

export async function benchPolicy(say: (line: string) => void): Promise<Figure[]> {
  using home = openGuardHome()
  const { store, decisions, audit, policy } = home.guard
  const { engine } = policy.active()
  const grouped = (inside: () => void) => store.transaction(inside)
  const rules = rate(
    (n) => void engine.evaluate(JSON.stringify(input(sender(n % 8), 'bench.work'))),
    (inside) => inside(),
  )
  say(`the rules alone: ${round(rules.perSecond)}/s`)
  const fresh = rate((n) => void decisions.decide(input(sender(n % 8), `t${n}`)), grouped)
  say(`decided and written down, nothing remembered: ${round(fresh.perSecond)}/s`)
  const kept = Array.from({ length: 8 }, (_, place) => Object.freeze(sender(place)))
  const memoised = rate((n) => void decisions.decide(input(kept[n % 8] ?? OPERATOR, 'bench.work')), grouped)
  say(`remembered: ${round(memoised.perSecond)}/s`)
  const entry = {
    principal: 'agent:survey-reader/s1',
    action: 'message.sent',
    resource: 'session:s2',
    decisionId: '0',
    policyRevision: '0',
    payloadHash: '0'.repeat(64),
    outcome: 'ok' as const,
    reason: 'allowed',
    effect: '',
  }
  const raw = store.prepare('create table if not exists raw (text text)')
  store.transaction(() => void raw.run())
  const insert = store.prepare('insert into raw values (?)')
  const text = canonicalText(entry)
  const baseline = rate(() => void insert.run(text), grouped)
  const appended = rate(() => void audit.append(entry), grouped)
  say(
    `audit records: ${round(appended.perSecond)}/s, chained, ${GROUP} a commit (bare inserts of the same text: ${round(baseline.perSecond)}/s)`,
  )
  const rssBefore = process.memoryUsage.rss()
  const verifyAt = performance.now()
  const { size, fault } = audit.verify()
  const verified = size / ((performance.now() - verifyAt) / 1000)
  const peakMb = (process.memoryUsage.rss() - rssBefore) / 1024 ** 2
  say(`verify: ${size} records at ${round(verified)}/s${fault === undefined ? '' : ', BROKEN'}`)
  const { offUs, noneUs } = await benchTracingOff(home)
  say(`tracing off: ${round(offUs, 2)} us of processor a message at the gate, ${round(noneUs, 2)} without any tracer`)
  const scrape = await benchScrape()
  say(`metrics: a scrape of ${AGENTS} agents with mail takes ${round(scrape, 2)} ms`)
  // A question that the shipped rules allow: of one they refuse, the operator's are not asked.
  const dataPath = join(home.folder, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(dataPath, 'utf8'))
  data.agents['survey-reader'].message = ['echo']
  writeFileSync(dataPath, JSON.stringify(data))
  writeHomeRules({ dataPath }, HOME_RULES)
  home.guard.rules.reload()
  const { engine: both, shipped: alone = both } = policy.active()
  const asking = (of: typeof both) =>
    rate(
      (n) => {
        if (of.evaluate(JSON.stringify(input(sender(n % 8), 'bench.work'))).effect !== 'allow')
          throw new Error('refused')
      },
      (inside) => inside(),
    )
  const [shippedAlone, withHome] = [asking(alone), asking(both)]
  say(`the same question without the operator's rules: ${round(shippedAlone.perSecond)}/s`)
  const withHomeKept = rate((n) => void decisions.decide(input(kept[n % 8] ?? OPERATOR, 'bench.work')), grouped)
  say(`with the operator's rules: ${round(withHome.perSecond)}/s, remembered ${round(withHomeKept.perSecond)}/s`)
  const reloads = reloadUnderLoad(home)
  say(`${RELOADS} reloads among ${reloads.asked} messages: ${reloads.refused} refused`)
  const figure = (key: string, value: number, unit: string, meaning: string, digits = 0): Figure => ({
    key,
    value: round(value, digits),
    unit,
    text: meaning,
  })
  return [
    figure('rulesPerSecond', rules.perSecond, '/s', 'the compiled rules alone'),
    figure('decisionsPerSecond', fresh.perSecond, '/s', 'decided and written down, nothing remembered'),
    figure('memoisedPerSecond', memoised.perSecond, '/s', 'remembered decisions'),
    figure('homeRulesPerSecond', withHome.perSecond, '/s', "the compiled rules and the operator's own"),
    figure('homeMemoisedPerSecond', withHomeKept.perSecond, '/s', "remembered decisions with the operator's rules"),
    figure('reloadRefused', reloads.refused, '', `messages refused of ${reloads.asked}, among ${RELOADS} reloads`),
    figure('p99Ms', fresh.p99Ms, 'ms', 'one decision that is not remembered', 3),
    figure('rawInsertsPerSecond', baseline.perSecond, '/s', 'bare inserts of the same text, the same commits'),
    figure('auditRecordsPerSecond', appended.perSecond, '/s', `chained records, ${GROUP} a commit, FULL`),
    figure('verifyRecordsPerSecond', verified, '/s', 'hashes and links checked'),
    figure(
      'tracingOffRatio',
      noneUs / offUs,
      '',
      'messages at the gate with tracing off, by those without any tracer; 0.98 at least',
      3,
    ),
    figure('tracingOffUs', offUs - noneUs, 'us', 'processor time that it adds to a message; at most 0.3', 2),
    figure('scrapeMs', scrape, 'ms', `one text of all metrics, ${AGENTS} agents with mail; the aim is below 5`, 2),
    figure('verifyPeakMb', peakMb, 'MB', 'resident memory added by verifying', 1),
  ]
}

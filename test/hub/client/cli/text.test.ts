import { describe, expect, it } from 'vitest'
import type { TaskView } from '../../../../hub/client/answers.ts'
import {
  decideNext,
  type LeftView,
  presenceRows,
  type StatusView,
  statusText,
} from '../../../../hub/client/cli/looking/status.ts'
import { awayText, heartbeatText } from '../../../../hub/client/cli/presence/presence.ts'
import { nextAfterStop, stopText } from '../../../../hub/client/cli/stopping/shutdown.ts'
import {
  clauses,
  clean,
  columns,
  instantText,
  jsonText,
  plain,
  sizeText,
  spanWords,
  whenText,
} from '../../../../hub/client/cli/text.ts'
import { outcomeCode, progressText } from '../../../../hub/client/cli/work/tasks.ts'
import { judgeRequest, readEvents, routeOf } from '../../../../hub/client/connection.ts'
import { exitCodeOf, nextOf, Problem, problemFrom, toProblem } from '../../../../hub/client/problem.ts'
import { readPolicyData } from '../../../../hub/guard/policy/data.ts'
import type { HubEvent } from '../../../../hub/protocol/events.ts'
import { modeView, TASK_ID, taskView, watchdogView } from '../../../support/fake-hub.ts'

describe('text for people', () => {
  it('escapes what moves, colours or reorders, and leaves letters, joiners and emoji (T30)', () => {
    expect(clean('a\x1b[2Jb\r\n\tc\u202e\u2066\u200e\u2028\ud800')).toBe(
      'a\\u001b[2Jb\\u000d\\n\\tc\\u202e\\u2066\\u200e\\u2028\\ud800',
    )
    expect(clean('é 漢 👩\u200d💻')).toBe('é 漢 👩\u200d💻')
    expect(clean('\u{e0041}')).toBe('\\u{e0041}')
  })

  it('breaks what is too long for a screen between its parts, and no command of it', () => {
    const text =
      'hub: mine was not built: it says `a; b`, but has c; make them agree: write `shell: true; x` into it (and: d; e)'
    expect(clauses(text, 200)).toEqual([text])
    expect(clauses(text, 60)).toEqual([
      'hub: mine was not built: it says `a; b`, but has c;',
      '  make them agree: write `shell: true; x` into it',
      '  (and: d;',
      '  e)',
    ])
    expect(clauses('an odd ` and; no end', 5)).toEqual(['an odd ` and;', '  no end'])
    expect(clauses('(a) b(c;d)', 3)).toEqual(['(a) b(c;d)'])
  })

  it('writes JSON that is safe to show and parses to the same value', () => {
    const value = { 'k\u2028': ['\x9b31m', '\u{e0041}', '\u202e', 'plain\n'] }
    expect(JSON.parse(jsonText(value))).toEqual(value)
    expect(jsonText(value)).not.toMatch(/(?!\n)\p{Cc}|[\p{Zl}\p{Cf}]/u)
  })

  it('says spans in their two largest units, rounded down', () => {
    expect([0, 999, 59_999, 250_000, 86_340_000, 86_400_000, 273_600_000, -5].map(spanWords)).toEqual([
      '0 s',
      '0 s',
      '59 s',
      '4 m 10 s',
      '23 h 59 m',
      '1 d',
      '3 d 4 h',
      '0 s',
    ])
  })

  it('names weekday, local time and zone, and the date when it is not of this week', () => {
    const nowMs = Date.UTC(2026, 0, 2, 8, 2)
    const dueMs = Date.UTC(2026, 0, 3, 8, 0)
    expect(whenText(dueMs, nowMs, 'Europe/Berlin')).toBe('Sat 09:00 CET (in 23 h 58 m)')
    expect(whenText(nowMs - 3_600_000, nowMs, 'UTC')).toBe('Fri 07:02 UTC (1 h ago)')
    expect(instantText(Date.UTC(2026, 6, 3, 22, 30), nowMs, 'Europe/Berlin')).toBe('Sat 4 Jul 2026 00:30 CEST')
  })

  it('answers a heartbeat with the next deadline and what happens without it [presence-18, time-12]', () => {
    const nowMs = Date.UTC(2026, 0, 2, 8, 2)
    const at = (hours: number) => Date.UTC(2026, 0, 3, 8, 0) + hours * 3_600_000
    const view = { acceptedAtMs: nowMs, dueAtMs: at(0), safeAtMs: at(2), stopAtMs: at(26) }
    expect(heartbeatText(view, nowMs, 'Europe/Berlin')).toBe(
      'accepted; next due Sat 09:00 CET (in 23 h 58 m)\nwithout it nothing starts after Sat 11:00 CET, and everything stops Sun 11:00 CET',
    )
  })

  it('says how many tasks are held, and the two words for them [away-16]', () => {
    const nowMs = Date.UTC(2026, 0, 2, 8, 2)
    const view = { acceptedAtMs: nowMs, dueAtMs: nowMs, safeAtMs: nowMs, stopAtMs: nowMs }
    expect(heartbeatText({ ...view, held: 3 }, nowMs, 'UTC')).toMatch(
      /\n3 tasks are held: `hub task release --all` or `hub task cancel --held`$/,
    )
    expect(heartbeatText({ ...view, held: 0 }, nowMs, 'UTC')).not.toContain('held')
  })

  it('says what holds in spite of a heartbeat, and of an absence its end', () => {
    const nowMs = Date.UTC(2026, 0, 2, 8, 2)
    const at = (hours: number) => Date.UTC(2026, 0, 3, 8, 0) + hours * 3_600_000
    const zone = 'Europe/Berlin'
    const view = { acceptedAtMs: nowMs, dueAtMs: at(0), safeAtMs: at(2), stopAtMs: at(26), zone }
    expect(heartbeatText({ ...view, conditions: ['unattended_stop'] }, nowMs)).toBe(
      'accepted; the unattended stop holds until `hub up` and then `hub heartbeat`',
    )
    expect(heartbeatText({ ...view, conditions: ['away'] }, nowMs)).toBe(
      'accepted; you are away until Sat 09:00 CET (in 23 h 58 m); if you are back earlier: `hub back`',
    )
    expect(heartbeatText({ ...view, conditions: ['witness_mismatch'] }, nowMs)).toMatch(
      /\nstill blocks new starts: witness_mismatch \(`hub status`\)$/,
    )
    expect(awayText(view, nowMs, false).split('\n')).toEqual([
      'away until Sat 09:00 CET (in 23 h 58 m): nothing new starts; running tasks finish, and no reminders are sent',
      'not back by Sat 11:00 CET: your contact is told; everything stops Sun 11:00 CET',
      'if you are back earlier: `hub back`',
    ])
    expect(awayText(view, nowMs, true)).toContain('agents keep working until then')
  })

  it('lines up as many rows as a branch has files (S4-9)', () => {
    const rows = Array.from({ length: 150_000 }, () => ['a', 'b'])
    expect(columns(['X', 'Y'], rows, plain).split('\n')).toHaveLength(150_001)
  })

  it('lines columns up by characters, one line a row whatever a cell holds', () => {
    expect(
      columns(
        ['A', 'B'],
        [
          ['x\ny', '1'],
          ['👩‍💻é', '2'],
        ],
        plain,
      ).split('\n'),
    ).toHaveLength(3)
    expect(
      columns(
        ['NAME', 'N'],
        [
          ['ab', '1'],
          ['c', { text: '2', style: 'red' }],
        ],
        plain,
      ),
    ).toBe('NAME  N\nab    1\nc     2')
  })

  it.each([
    [200, ['ab12cd34  failed  a reason that is long enough to be cut']],
    [40, ['ab12cd34  failed  a reason that is long…']],
    [24, ['ab12cd34  failed  a rea…']],
  ])('a table is no wider than a terminal of %i columns, and no id is cut (fault C9)', (width, lines) => {
    const paint = Object.assign((_: unknown, text: string) => text, { width })
    const rows = [['ab12cd34', { text: 'failed', style: 'red' as const }, 'a reason that is long enough to be cut']]
    expect(columns(['TASK', 'STATE', 'WHAT'], rows, paint).split('\n').slice(1)).toEqual(lines)
  })

  it('says sizes', () => {
    expect([0, 1023, 1024, 5 * 1024 ** 2, 3 * 1024 ** 4].map(sizeText)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '5.0 MiB',
      '3072.0 GiB',
    ])
  })
})

describe('status', () => {
  const view = (change: Partial<StatusView> = {}): StatusView => ({
    home: '/h',
    hub: modeView(),
    hubProblem: null,
    watchdog: watchdogView(),
    watchdogProblem: null,
    running: [],
    alerts: [],
    ...change,
  })
  const condition = {
    name: 'heartbeat_missed',
    mode: 'safe' as const,
    sinceMs: 0,
    reason: 'nobody there',
    sticky: true,
    endsBy: '`hub heartbeat`',
  }

  it('fault A10: shows what still runs until it is gone, with its processes, also with the hub dead', () => {
    const left: LeftView[] = [
      { container: 'hub-x-s1', state: 'running', remains: { kind: 'processes', pids: [12, 13] } },
      { container: 'hub-x-s2', state: 'dead', remains: { kind: 'nothing' } },
      { container: 'hub-x-s3', state: 'running', remains: { kind: 'unknown' } },
    ]
    const text = statusText(view({ hub: null, hubProblem: 'it is down', left }), 0, plain)
    expect(text).toContain('hub-x-s1 (running): process 12, 13 runs')
    expect(text).toContain('hub-x-s2 (dead): none of its processes runs')
    expect(text).toContain('hub-x-s3 (running): its processes cannot be seen from here')
    expect(statusText(view(), 0, plain)).not.toContain('still there')
  })

  it('fault A10: after a stop that the machine bars the way that works is named, and no way that leads in a circle', () => {
    const reason = 'it answered 500: cannot kill container: permission denied'
    const remains = { kind: 'processes' as const, pids: [77] }
    const failed = { container: 'hub-x-s1', session: null, outcome: 'failed' as const, reason, remains }
    const barred = { path: 'hub', requested: 1, containers: [failed] }
    expect(stopText(barred, plain)).toMatch(/sudo kill -9 77.*sudo aa-remove-unknown/)
    expect(nextAfterStop(barred)).not.toMatch(/--emergency|start the/)
    expect(nextAfterStop({ ...barred, path: 'command', containers: [{ ...failed, reason: 'busy' }] })).not.toContain(
      '--emergency',
    )
    expect(nextAfterStop({ ...barred, containers: [{ ...failed, reason: 'busy' }] })).toContain('--emergency')
    expect(nextAfterStop({ path: 'command', requested: 0, containers: [], unproven: 'silent' })).toContain(
      '--emergency',
    )
  })

  it.each([
    ['nothing', view()],
    ['start it: `hub up`', view({ hub: null, watchdog: null })],
    ['look at its log (logs/hub.log; under systemd the journal), then `hub up`', view({ hub: null })],
    ['start the watchdog: `hub up`; without it nothing new starts', view({ watchdog: null })],
    ['heartbeat_missed: ends by `hub heartbeat`', view({ hub: modeView({ mode: 'safe', conditions: [condition] }) })],
    [
      'give a heartbeat: `hub heartbeat`',
      view({ watchdog: watchdogView({ heartbeat: { dueInMs: 3_600_000, safeInMs: 1, stopInMs: 1, paused: false } }) }),
    ],
  ])('the next act is %j', (next, shown) => {
    expect(decideNext(shown)).toBe(next)
  })

  it('shows open alerts, the worst first, and of many that there are more', () => {
    const nowMs = Date.UTC(2026, 0, 2, 8, 0)
    const alert = (cause: string, severity: 'critical' | 'warning') => ({
      ...{ id: cause, cause, severity, state: 'sent' as const, text: '', holds: false },
      ...{ raisedAtMs: nowMs - 60_000, resolvedAtMs: null },
    })
    const many = ['a', 'b', 'c', 'd', 'e'].map((cause) => alert(cause, 'warning'))
    const lines = statusText(view({ alerts: [...many, alert('lease_forged', 'critical')] }), nowMs, plain).split('\n')
    const holding = view({ alerts: [...many, { ...alert('lease_forged', 'critical'), holds: true }] })
    expect(decideNext(holding)).toBe('look into lease_forged, then `hub resume --alert lease_forged`')
    const first = lines.findIndex((line) => line.startsWith('alerts'))
    expect(lines[first]).toMatch(/^alerts +critical: lease_forged, .*\(1 m ago\)$/)
    expect(lines[first + 5]?.trim()).toBe('1 more: `hub alert list`')
  })

  it('shows presence in the zone of the operator: due, the path without it, weak words, quiet hours, absence, stop [time-12]', () => {
    const nowMs = Date.UTC(2026, 0, 2, 8, 0)
    const hour = 3_600_000
    const beat = {
      dueInMs: 24 * hour,
      safeInMs: 26 * hour,
      stopInMs: 50 * hour,
      paused: false,
      zone: 'America/New_York',
    }
    const rows = (change: object) => presenceRows({ ...beat, ...change }, null, nowMs)
    expect(rows({})).toEqual([
      ['heartbeat', 'due Sat 03:00 GMT-5 (in 1 d)'],
      [
        '',
        'without it nothing starts after Sat 05:00 GMT-5 (in 1 d 2 h), everything stops Sun 05:00 GMT-5 (in 2 d 2 h)',
      ],
    ])
    expect(rows({ dueInMs: -3 * hour, safeInMs: -hour, stopInMs: 23 * hour })).toEqual([
      ['heartbeat', { text: 'was due Fri 00:00 GMT-5 (3 h ago)', style: 'red' }],
      ['', 'without it nothing starts now, everything stops Sat 02:00 GMT-5 (in 23 h)'],
    ])
    expect(rows({ weakAgeMs: hour, weakMostInMs: 48 * hour, quiet: true }).slice(2)).toEqual([
      ['', 'last webhook heartbeat 1 h ago; webhooks alone extend the deadline to Sun 03:00 GMT-5 (in 2 d) at most'],
      ['', 'quiet hours: reminders wait until they end'],
    ])
    expect(rows({ away: { untilInMs: 24 * hour, keepWorking: false, note: 'sea' } })).toEqual([
      ['away', { text: 'until Sat 03:00 GMT-5 (in 1 d): nothing new starts (sea)', style: 'yellow' }],
      [
        '',
        'not back by Sat 05:00 GMT-5 (in 1 d 2 h): your contact is told; everything stops Sun 05:00 GMT-5 (in 2 d 2 h)',
      ],
    ])
    expect(rows({ stopped: true })[0]?.[1]).toMatchObject({ style: 'red' })
    expect(rows({ paused: true })).toEqual([['heartbeat', 'paused: this hub runs nothing']])
    expect(presenceRows(undefined, null, nowMs)).toEqual([])
  })

  it('counts a planned absence not among the alerts', () => {
    const alerts = ['away', 'ledger'].map((finding) => ({ finding, level: 1, forMs: 5 }))
    expect(statusText(view({ watchdog: watchdogView({ alerts }) }), 0, plain)).toContain('1 alert: ledger')
    expect(statusText(view({ watchdog: watchdogView({ alerts: alerts.slice(0, 1) }) }), 0, plain)).toMatch(
      /watchdog +ok, last/,
    )
  })

  it('fits one screen and names each condition with who ends it', () => {
    const text = statusText(view({ hub: modeView({ mode: 'safe', conditions: [condition] }) }), Date.now(), plain)
    expect(text).toContain('heartbeat_missed since')
    expect(text).toContain('nobody there; ends by `hub heartbeat`')
    expect(text.split('\n').length).toBeLessThan(24)
  })
})

describe('exit codes as a table', () => {
  it('of problems', () => {
    const of = (code: string, kind: 'refused' | 'unavailable' | 'fault') => exitCodeOf(new Problem(code, kind, '', ''))
    expect([
      of('usage', 'refused'),
      of('policy_denied', 'refused'),
      of('mode_safe', 'unavailable'),
      of('engine_unavailable', 'unavailable'),
      of('timed_out', 'unavailable'),
      of('internal', 'fault'),
      of('of_a_later_hub', 'refused'),
      exitCodeOf(toProblem(new Error('bug'))),
    ]).toEqual([2, 3, 3, 4, 6, 1, 3, 1])
  })

  it("of settled tasks: the denial of policy is a refusal, a failure is the task's own", () => {
    const of = (change: Record<string, unknown>) => outcomeCode(taskView(change) as TaskView)
    expect([
      of({ state: 'succeeded' }),
      of({ state: 'failed', error: { code: 'internal', detail: '' } }),
      of({ state: 'cancelled' }),
      of({ state: 'timed_out' }),
      of({ state: 'failed', error: { code: 'policy_denied', detail: '' } }),
    ]).toEqual([0, 5, 5, 6, 3])
  })

  it('what a full disk says of itself is not followed by a second remedy (fault G2)', () => {
    const next = (detail: string) => nextOf(problemFrom(503, { code: 'store_unavailable', detail }))
    expect(next('keys/token.next.key: the disk is full; free some room, then try again')).toBe('')
    expect(next('the database cannot be written')).toContain('hub doctor')
  })

  it('an agent without a row is let in by one command, and what names its own way to mend is not followed by another', () => {
    const next = (code: string, detail: string) => nextOf(problemFrom(503, { code, detail }))
    expect(next('policy_denied', 'agent a-1 is not in the policy: add agents.a-1 to policy/data.json')).toBe(
      '`hub agent allow a-1`',
    )
    expect(next('policy_denied', 'no: add "x" to agents.a.message in policy/data.json')).toBe(
      'add "x" to agents.a.message in policy/data.json, then `hub policy reload`',
    )
    let detail = ''
    try {
      readPolicyData(Buffer.from('{,'), '/h/policy/data.json')
    } catch (error) {
      detail = (error as Error).message
    }
    expect(detail).toContain('`git -C /h/policy checkout data.json`')
    expect(next('policy_unavailable', detail)).toBe('')
  })

  it('what rmSync says without a code is no bug of the command (fault G9)', () => {
    const met = new Error(", Unknown error: Read-only file system '/h/stay-down/hub'")
    const problem = toProblem(Object.assign(met, { code: '', errno: -4094, path: '/h/stay-down/hub' }))
    expect(problem.message).toMatch(/^\/h\/stay-down\/hub: its file system is mounted read-only; mount it writable/)
    expect(exitCodeOf(problem)).toBe(4)
  })

  it('half an answer still has kind, detail and next', () => {
    expect(problemFrom(503, {})).toMatchObject({ kind: 'fault', code: 'internal' })
    expect(problemFrom(409, { code: 'nonce_used' })).toMatchObject({ kind: 'refused', code: 'nonce_used' })
    expect(problemFrom(400, { error: 'kind must be one of' }).message).toBe('kind must be one of')
  })
})

describe('requests', () => {
  it('put ids into the path and the rest into query or body, by the operations table', () => {
    expect(routeOf('task.show', { id: TASK_ID })).toEqual({
      method: 'GET',
      path: `/v1/tasks/${TASK_ID}`,
      body: undefined,
    })
    expect(routeOf('task.cancel', { id: TASK_ID })).toEqual({
      method: 'POST',
      path: `/v1/tasks/${TASK_ID}/cancel`,
      body: {},
    })
    expect(routeOf('task.list', { state: 'failed', limit: 3 }).path).toBe('/v1/tasks?state=failed&limit=3')
    expect(routeOf('mode.safe', { reason: 'x' }).body).toEqual({ reason: 'x' })
  })

  it('of agents and of nobody have no way out here', async () => {
    expect(() => routeOf('session.join', {})).toThrow('has no route')
    await expect(judgeRequest('task.show', { id: '../../etc' })).rejects.toThrow('id: ')
    await expect(judgeRequest('task.show', { id: TASK_ID, extra: 1 })).rejects.toThrow('extra')
  })
})

describe('the event stream', () => {
  const collect = async (parts: (string | Buffer)[]): Promise<HubEvent[]> => {
    const found: HubEvent[] = []
    const source = async function* () {
      yield* parts
    }
    for await (const event of readEvents(source())) found.push(event)
    return found
  }

  it('is read whole however the bytes are cut, also inside a character', async () => {
    const bytes = Buffer.from(
      ': hello\n\nid: 1\r\ndata: {"sequence":1,"subject":"é漢"}\r\n\r\ndata: {"sequence":\ndata: 2}\n\ndata: {"se',
    )
    for (const size of [1, 3, bytes.length]) {
      const parts: Buffer[] = []
      for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size))
      expect(await collect(parts)).toEqual([{ sequence: 1, subject: 'é漢' }, { sequence: 2 }])
    }
  })

  it('refuses an event that is no JSON or never ends', async () => {
    await expect(collect(['data: {\n\n'])).rejects.toThrow('not JSON')
    await expect(collect([`data: ${'x'.repeat(3 * 1024 * 1024)}`])).rejects.toThrow('without an end')
  })
})

describe('what a task says of itself', () => {
  it('is shown as far as it said it: a text, a count, or both (fault D16)', () => {
    const of = (progress: object) =>
      progressText({ state: 'running', held: false, error: null, outcome: null, progress } as never)
    expect(of({ text: 'reading', atMs: 1 })).toBe('reading')
    expect(of({ text: 'reading', done: 1, atMs: 1 })).toBe('reading')
    expect(of({ text: 'reading', done: 1, total: 3, atMs: 1 })).toBe('reading (1 of 3)')
    expect(of({ done: 1, total: 3, atMs: 1 })).toBe('(1 of 3)')
  })
})

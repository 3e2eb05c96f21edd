/** `hub session say|interrupt|close|turns`, and turns where tasks and sessions are shown. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { commandHome, sessionRow } from '../../../../support/command-home.ts'
import { eventFeed, refusal, SESSION_ID, TASK_ID, taskView } from '../../../../support/fake-hub.ts'

const at = commandHome()
const TURN_ID = '018f0000-0000-7000-8000-00000000000a'
const turn = (change: object = {}) => ({
  ...{ id: TURN_ID, session: SESSION_ID, number: 3, state: 'done', stopReason: 'end_turn' },
  ...{ prompt: 'read it', askedBy: 'operator', error: null, text: 'I read it', cut: false, usage: null },
  ...{ createdAtMs: 1_000, startedAtMs: 2_000, endedAtMs: 14_000 },
  ...change,
})
const brief = { id: TURN_ID, session: SESSION_ID, number: 3, state: 'waiting', stopReason: null }
const say = (...args: string[]) => at.run(['session', 'say', ...args])
const prompts = () =>
  at.hub.asked.flatMap(({ path: to, body }) => (to.endsWith('/say') ? [(body as { prompt: string }).prompt] : []))
const takes = () => at.hub.on('POST /v1/sessions/:id/say', () => ({ body: { turn: brief } }))
/** The task of that name has this session, which may come only later. */
const begun = (change: object = {}, attempts: object[] = []) =>
  at.hub.on('GET /v1/tasks/:id', () => ({
    body: { task: taskView({ state: 'running', session: SESSION_ID, ...change }), attempts, money: null, turns: [] },
  }))
const shows = (...turns: object[]) =>
  at.hub.on('GET /v1/sessions/:id', () => ({ body: { session: sessionRow, turns, closing: null } }))

describe('hub session say', () => {
  it('gives a prompt to a session, or to that of a task, and ends', async () => {
    takes()
    begun()
    for (const named of [SESSION_ID, TASK_ID]) {
      const { code, stdout } = await say(named, 'read it')
      expect([code, stdout]).toEqual([0, `${SESSION_ID} turn 3 waiting\n`])
    }
    expect(at.posted()).toEqual(Array(2).fill(`/v1/sessions/${SESSION_ID}/say`))
    expect(prompts()).toEqual(['read it', 'read it'])
    expect(JSON.parse((await say(SESSION_ID, 'read it', '--json')).stdout)).toEqual(brief)
  })

  it('takes a part of an id of either kind, and refuses one that both have', async () => {
    takes()
    begun()
    at.hub.on('GET /v1/sessions', ({ query }) => ({
      body: { sessions: query.get('part')?.startsWith('aa') ? [sessionRow] : [], next: null },
    }))
    at.hub.on('GET /v1/tasks', ({ query }) => ({
      body: { tasks: query.get('part') === 'aaaa' || query.get('part') === '0001' ? [taskView()] : [], next: null },
    }))
    expect((await say('aaaaa', 'x')).code).toBe(0)
    expect((await say('0001', 'x')).code).toBe(0)
    expect((await say('aaaa', 'x')).stderr).toBe(
      'hub: a session and a task have an id that begins or ends with aaaa\nnext: type more characters of it\n',
    )
    expect((await say('zzzz', 'x')).stderr).toMatch(/^hub: no session has an id that begins or ends with zzzz\n/)
    expect((await say('!', 'x')).stderr).toMatch(/^hub: "!" is not the id of a session or a task/)
    expect(at.posted()).toHaveLength(2)
  })

  it('reads the text from a file or stdin, and refuses one that is empty, too long, absent or no text', async () => {
    takes()
    const file = (name: string, bytes: string | Uint8Array) => writeFileSync(path.join(at.home, name), bytes)
    file('whole', `${'é'.repeat(32 * 1024)}`)
    file('long', `${'é'.repeat(32 * 1024)}a`)
    file('bytes', new Uint8Array([0xff, 0xfe]))
    file('empty', ' \n\n')
    expect((await say(SESSION_ID, '@whole')).code).toBe(0)
    for (const [text, why] of [
      ['', 'the text is empty'],
      ['@empty', 'the text is empty'],
      ['a'.repeat(65_537), 'the text is longer than 65536 bytes'],
      ['@long', 'the text: long cannot be read: it is longer than 65536 bytes'],
      ['@bytes', 'the text: bytes cannot be read: The encoded data was not valid for encoding utf-8'],
      ['@none', "the text: none cannot be read: ENOENT: no such file or directory, open 'none'"],
    ] as const) {
      const { code, stderr } = await say(SESSION_ID, text)
      expect([code, stderr.split('\n')[0]]).toEqual([2, `hub: ${why}`])
    }
    const piped = (stdin: string) => at.runAsProcess(['session', 'say', SESSION_ID, '-'], { stdin })
    expect((await piped('two\nlines\n')).code).toBe(0)
    expect((await piped('a'.repeat(65_537))).stderr).toMatch(
      /^hub: the text: stdin cannot be read: it is longer than 65536 bytes\n/,
    )
    expect(prompts()).toEqual(['é'.repeat(32 * 1024), 'two\nlines'])
  })

  it('waits for the session of a task that was just submitted, and says why one comes no more', async () => {
    takes()
    let looked = 0
    at.hub.on('GET /v1/approvals', () => ({ body: { approvals: [] } }))
    at.hub.on('GET /v1/events', () => eventFeed([], true))
    at.hub.on('GET /v1/tasks/:id', () => {
      looked += 1
      const session = looked < 2 ? null : SESSION_ID
      return { body: { task: taskView({ session }), attempts: [], money: null, turns: [] } }
    })
    const begins = await say(TASK_ID, 'x')
    expect([begins.code, begins.stderr]).toEqual([0, 'waiting for its session: it is queued\n'])
    begun({ held: true, session: null, state: 'queued' })
    expect((await say(TASK_ID, 'x')).stderr).toBe(
      `hub: task ${TASK_ID} is held and has no session yet\nnext: \`hub task release ${TASK_ID}\` lets it start\n`,
    )
    begun({ state: 'succeeded', session: null }, [{ session: SESSION_ID }])
    const ended = await say(TASK_ID, 'x')
    expect([ended.code, ended.stderr]).toEqual([
      3,
      `hub: task ${TASK_ID} has ended (succeeded), and its session with it\nnext: \`hub task retry ${TASK_ID}\` begins it again\n`,
    ])
    expect(at.posted()).toHaveLength(1)
  })

  it.each([
    [
      'inbox_closed',
      `\`hub session turns ${SESSION_ID}\` shows what was said; \`hub submit AGENT\` begins another chat`,
    ],
    ['unsupported_mode', '`hub agent drivers` says which drivers are given prompts'],
    ['limit_exceeded', `\`hub session interrupt ${SESSION_ID}\` cancels the one that goes on`],
    ['unknown_session', 'See `hub session list`; the session may have ended.'],
  ] as const)('a session that answers %s says what to do', async (code, next) => {
    at.hub.on('POST /v1/sessions/:id/say', () => refusal(code, 'it does not go'))
    const said = await say(SESSION_ID, 'x')
    expect([said.code, said.stderr]).toEqual([3, `hub: it does not go\nnext: ${next}\n`])
  })

  it('S4-32: --interrupt is two acts in their order; that nothing went on is no fault, any other refusal ends it', async () => {
    takes()
    at.hub.on('POST /v1/sessions/:id/interrupt', () => ({
      body: { turn: { ...brief, number: 2, state: 'cancelled' } },
    }))
    expect((await say(SESSION_ID, 'x', '--interrupt')).stderr).toBe('turn 2 cancelled\n')
    expect(at.posted().map((each) => each.split('/').at(-1))).toEqual(['interrupt', 'say'])
    at.hub.on('POST /v1/sessions/:id/interrupt', () => refusal('already_resolved', 'no turn goes on'))
    const idle = await say(SESSION_ID, 'x', '--interrupt')
    expect([idle.code, idle.stderr]).toEqual([0, 'no turn went on\n'])
    at.hub.on('POST /v1/sessions/:id/interrupt', () => refusal('unsupported_mode', 'it cannot cancel'))
    expect((await say(SESSION_ID, 'x', '--interrupt')).code).toBe(3)
    expect(prompts()).toHaveLength(2)
  })

  it.each([
    ['end_turn', 'done', null, 0, ''],
    [
      'max_tokens',
      'done',
      null,
      0,
      'turn 3 done (max_tokens): max_tokens: it came to the most tokens of an answer, or to the end of its context\n',
    ],
    ['error', 'failed', 'no\u001b[2J model', 5, 'turn 3 failed: no\\u001b[2J model\n'],
    ['cancelled', 'cancelled', null, 5, 'turn 3 cancelled\n'],
  ])(
    '--wait prints what a turn that ended with %s said, and its exit code tells how it ended',
    async (stopReason, state, error, code, note) => {
      takes()
      const [running, over] = [
        turn({ state: 'running', stopReason: null }),
        turn({ state, stopReason, error, text: 'half\u202e\nmore\n' }),
      ]
      const gives = (one: object) =>
        at.hub.on('GET /v1/sessions/:id/turns', () => ({ body: { turns: [one], next: null } }))
      shows(running)
      gives(running)
      at.hub.on('GET /v1/approvals', () => ({ body: { approvals: [] } }))
      const looks = () => at.hub.asked.filter(({ path: to }) => to === `/v1/sessions/${SESSION_ID}`).length
      at.hub.on('GET /v1/events', async () => {
        // The turn ends after the first look at it.
        while (looks() < 2) await new Promise((resolve) => setTimeout(resolve, 50))
        shows(over)
        gives(over)
        const data = { turn: TURN_ID, state }
        return eventFeed([
          { sequence: 1, type: 'hub.session.turn.v1', subject: `task:${TASK_ID}`, time: '2026-01-01T00:00:01Z', data },
        ])
      })
      const said = await say(SESSION_ID, 'x', '--wait')
      expect([said.code, said.stdout]).toEqual([code, 'half\\u202e\nmore\n'])
      expect(said.stderr.replace(/^turn 3 is \w+\n/, '')).toBe(note)
      // Only the end is read, since each read of a text is a record.
      expect(
        at.hub.asked.filter(({ path: to }) => to.endsWith('/turns')).map(({ query }) => query.get('turn')),
      ).toEqual([TURN_ID])
      expect(JSON.parse((await say(SESSION_ID, 'x', '--wait', '--json')).stdout)).toEqual(over)
    },
  )
})

it.each(['interrupt', 'close'])('session %s names what came of it, also while nothing can be written', async (verb) => {
  begun({ state: 'succeeded', session: null }, [{ session: null }, { session: SESSION_ID }])
  const body = verb === 'close' ? { session: SESSION_ID, closed: true } : { turn: { ...brief, state: 'cancelled' } }
  at.hub.on(`POST /v1/sessions/:id/${verb}`, () => ({ body }))
  const done = await at.run(['session', verb, TASK_ID])
  expect([done.code, done.stdout]).toEqual([
    0,
    `${SESSION_ID} ${verb === 'close' ? 'told that nothing more comes' : 'turn 3 cancelled'}\n`,
  ])
  const unwritten = { unwritten: { kept: 'file', detail: 'it is written later' } }
  at.hub.on(`POST /v1/sessions/:id/${verb}`, () => ({
    body: { ...body, ...(verb === 'close' ? {} : { turn: null }), ...unwritten },
  }))
  const later = await at.run(['session', verb, SESSION_ID])
  expect([later.code, later.stdout, later.stderr]).toEqual([
    ...[8, `${SESSION_ID} stopping, not written yet\n`, 'it is written later\n'],
  ])
})

describe('hub session turns', () => {
  it('shows turns whole, the first said first, and one by its number', async () => {
    const long = 'word '.repeat(100).trim()
    at.hub.on('GET /v1/sessions/:id/turns', ({ query }) => ({
      body:
        query.get('limit') === '1' && Number(query.get('cursor')) < 4
          ? { turns: [], next: null }
          : {
              turns: [
                turn({ text: long }),
                turn({ number: 2, prompt: 'a\nb', usage: { input: 7, cached: 0, output: 1 } }),
              ],
              next: '2',
            },
    }))
    const { stdout, stderr } = await at.run(['session', 'turns', SESSION_ID])
    expect(stdout.replaceAll(/Thu .*?ago\)/g, 'THEN').split('\n')).toEqual([
      `turn 2 of ${SESSION_ID}: done, asked by operator THEN, took 12 s`,
      'tokens of the session so far: 7 sent, 1 received',
      ...['> a', '> b', '', 'I read it', ''],
      `turn 3 of ${SESSION_ID}: done, asked by operator THEN, took 12 s`,
      ...['> read it', '', long, ''],
    ])
    expect(stderr).toBe('there is more: the same command with --cursor 2 shows what follows\n')
    expect((await at.run(['session', 'turns', SESSION_ID, '3'])).stdout).toContain(long)
    expect(at.hub.asked.at(-1)?.query.toString()).toBe('limit=1&cursor=4')
    const none = await at.run(['session', 'turns', SESSION_ID, '2'])
    expect([none.code, none.stderr]).toEqual([
      3,
      `hub: session ${SESSION_ID} has no turn 2; it has none\nnext: \`hub session turns ${SESSION_ID}\`\n`,
    ])
    for (const wrong of ['0', '-1', 'x'])
      expect((await at.run(['session', 'turns', SESSION_ID, '--', wrong])).code).toBe(2)
  })

  it('a session to which nothing was said says so', async () => {
    at.hub.on('GET /v1/sessions/:id/turns', () => ({ body: { turns: [], next: null } }))
    expect((await at.run(['session', 'turns', SESSION_ID])).stdout).toBe(
      `nothing was said to session ${SESSION_ID} yet\n`,
    )
  })
})

it('S4-5: task show and session show list turns in short, with every control character in sight', async () => {
  const turns = [
    turn({ number: 1, prompt: `look\nat \u001b]0;x ${'y'.repeat(60)}`, text: 'z'.repeat(300) }),
    turn({ number: 2, state: 'failed', stopReason: 'error', error: 'no model', text: 'half\n\u202eof it' }),
    turn({ number: 3, state: 'done', stopReason: 'max_tokens' }),
  ]
  begun()
  at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView(), attempts: [], money: null, turns } }))
  at.hub.on('GET /v1/sessions/:id', () => ({ body: { session: sessionRow, turns, closing: 'nobody spoke to it' } }))
  for (const args of [
    ['task', 'show', TASK_ID],
    ['session', 'show', SESSION_ID],
  ]) {
    const { stdout } = await at.run(args)
    const [, table = ''] = stdout.split('\n\n')
    expect(table.split('\n')).toEqual([
      expect.stringMatching(/^TURN {2}STATE +PROMPT +SAID$/),
      expect.stringMatching(/^1 +done +look at \\u001b\]0;x y{25}… +z{119}…$/),
      expect.stringMatching(/^2 +failed +read it +no model: half \\u202eof it$/),
      expect.stringMatching(/^3 +done \(max_tokens\) +read it +I read it$/),
      `\`hub session turns ${SESSION_ID} NUMBER\` shows one whole`,
      '',
    ])
    expect(/^closed +nobody spoke to it$/m.test(stdout)).toBe(args[0] === 'session')
  }
})

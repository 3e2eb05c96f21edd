/**
 * Model agents as people run them: real containers on the real engine, a scripted model server, and prices by hand. The shipped assistant by Messages and
 * by Responses, and the real Codex from npm. The upstream sends its key back wherever it can; nothing inside may ever hold it (E14, E21).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dollarsText } from '../../hub/protocol/dollars.ts'
import { createCanary, shownForms } from '../support/canary-key.ts'
import { hasEnded, resultOf, type Session, type Task, until } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import {
  CODEX_MODEL,
  freshKey,
  inputFolder,
  LEAD,
  loadAgents,
  openAgentsHome,
  POOR,
  pricedByHand,
  SECOND,
  THIRD,
} from '../support/models/agents-home.ts'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import type { Answer, Ask, Turn } from '../support/models/turn.ts'

const KEY = freshKey()
const canary = createCanary(KEY)
const SHOWN = shownForms(KEY).join(' ')
/** What an upstream may send back beside its answer, with the key in all of it. */
const LEAKING = {
  echo: SHOWN,
  headers: { 'x-request-id': KEY, 'anthropic-ratelimit-requests-limit': `Bearer ${KEY}`, 'set-cookie': `key=${KEY}` },
}

let home: Awaited<ReturnType<typeof openAgentsHome>>
let models: ModelServer
let folder = ''

interface Account {
  scope: string
  spentUsd: number
  estimatedUsd: number
  heldUsd: number
  calls: number
}
interface Budget {
  accounts: Account[]
  calls: { id: string; state: string; usd: number | null; reservedUsd: number; input: number; output: number }[]
}
const budgetOf = (task: string) => home.json<Budget>('budget', 'show', '--task', task)
const treeOf = async (task: string) => (await budgetOf(task)).accounts.find(({ scope }) => scope === 'tree')
const call = (name: string, input: Record<string, unknown>): Turn => ({ ...LEAKING, calls: [{ name, input }] })

/** An answer that is kept back until the test lets it go. */
function createHold() {
  let waiting = 0
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return {
    async wait(answer: Turn) {
      waiting += 1
      await opened
      return answer
    },
    waiting: () => waiting,
    release: () => open(),
  }
}

beforeAll(async () => {
  await loadAgents()
  models = await startModelServer()
  home = await openAgentsHome({ models, key: KEY })
  folder = inputFolder({ 'text.md': 'a draft\n', 'words.txt': 'lorem ipsum dolor sit amet\n'.repeat(1000) })
})
afterAll(async () => {
  await home?.close()
  await models?.[Symbol.asyncDispose]()
  if (folder !== '') rmSync(folder, { recursive: true, force: true })
})

function engineText(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: ENGINE_SOCKET, path }, async (answer) => {
      const parts: Buffer[] = []
      for await (const part of answer) parts.push(part as Buffer)
      resolve(Buffer.concat(parts).toString('latin1'))
    })
    asked.on('error', reject).end()
  })
}

/** As the session's shim asks; answers every byte of head and body that a program in the container would see. */
function throughSocketOf(session: string, body: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        ...{ socketPath: join(home.home, 'run', 's', session, 'egress.sock'), method: 'POST' },
        path: '/up/anthropic/v1/messages',
        headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
      },
      async (answer) => {
        let text = `${answer.statusCode}\n${answer.rawHeaders.join('\n')}\n\n`
        for await (const part of answer) text += part
        resolve(text)
      },
    )
    asked.on('error', reject).end(JSON.stringify(body))
  })
}

const processesOf = async ({ containerId }: Session): Promise<number[]> => {
  const table = await home.engine.top(containerId)
  const column = table?.titles.indexOf('PID') ?? -1
  return (table?.processes ?? []).map((row) => Number(row[column]))
}
const linesOf = (path: string) => readFileSync(path, 'latin1').trim().split('\n').slice(1)

describe('a lead that asks a second that asks a third, by two providers, and Codex beside them', () => {
  const hold = createHold()
  const ids = { lead: '', codex: '' }
  const came = new Map<string, number>()
  let sessions: Session[] = []

  function script(ask: Ask): Answer | Promise<Answer> {
    came.set(ask.model, (came.get(ask.model) ?? 0) + 1)
    if (ask.model === LEAD.model)
      return (
        [
          call('list_files', {}),
          call('read_file', { path: 'text.md' }),
          call('ask_agent', { agent: SECOND.name, task: 'Sum it up' }),
          call('write_artifact', { name: 'found.md', text: ask.results.join('|') }),
        ][ask.turn] ?? { ...LEAKING, text: 'Done.' }
      )
    if (ask.model === SECOND.model)
      return ask.turn === 0
        ? call('ask_agent', { agent: THIRD.name, task: 'Read it' })
        : { ...LEAKING, text: `Third said ${ask.results.join('')}` }
    if (ask.model === THIRD.model)
      return ask.turn === 0
        ? call('read_file', { path: 'text.md' })
        : hold.wait({ ...LEAKING, text: `It says ${ask.results.join('')}` })
    const usage = { input: 8000, output: 100 }
    const edit = 'sed s/draft/final/ /workspace/in/text.md > /workspace/out/text.md'
    return ask.turn === 0
      ? { ...call('exec_command', { cmd: edit }), usage }
      : hold.wait({ ...LEAKING, text: 'Edited.', usage })
  }

  beforeAll(async () => {
    models.script = script
    const submit = async (agent: string, task: string) =>
      (await home.json<Task>('submit', agent, '--param', `task=${task}`, '--input', folder)).id
    ids.lead = await submit(LEAD.name, 'Sum up the folder')
    ids.codex = await submit('codex', 'Edit text.md')
    const waits = async () => {
      for (const id of Object.values(ids)) {
        const { task } = await home.shown(id)
        if (!['queued', 'running'].includes(task.state)) throw new Error(`it ended too early: ${JSON.stringify(task)}`)
      }
      return hold.waiting()
    }
    await until('third and Codex wait for the model', waits, (waiting) => waiting === 2)
    sessions = (await home.json<Session[]>('session', 'list')).filter(({ containerId }) => containerId !== null)
  })

  test('E14: while they run, no process of theirs holds a piece of the key: memory, environment, command line, files', async () => {
    expect(sessions.map(({ agent }) => agent).sort()).toEqual(['codex', 'lead', 'second', 'third'])
    let bytes = 0
    for (const session of sessions) {
      const pids = await processesOf(session)
      expect(pids.length).toBeGreaterThan(0)
      for (const pid of pids) {
        for (const file of ['environ', 'cmdline'])
          expect(canary.tracesIn(readFileSync(`/proc/${pid}/${file}`))).toEqual([])
        const memory = canary.memoryWith(pid)
        expect(memory.found).toEqual([])
        bytes += memory.bytes
      }
      const [first] = pids
      for (const inside of ['tmp', 'workspace', 'run'])
        expect(canary.filesWith(`/proc/${first}/root/${inside}`)).toEqual([])
      for (const shown of ['json', 'logs?stdout=1&stderr=1'])
        expect(canary.tracesIn(await engineText(`/containers/${session.containerId}/${shown}`))).toEqual([])
    }
    // What was read was worth reading: it holds what the hub puts in the place of a key.
    expect(bytes).toBeGreaterThan(20e6)
  })

  test('E14: a program sees no piece of it in heads, bodies, streams and errors, whatever the upstream sends', async () => {
    const lead = sessions.find(({ agent }) => agent === LEAD.name)?.id ?? ''
    const body = { model: LEAD.model, max_tokens: 50, messages: [{ role: 'user', content: 'x' }] }
    const seen: string[] = []
    for (const stream of [false, true]) seen.push(await throughSocketOf(lead, { ...body, stream }))
    for (const status of [400, 401, 403, 404, 429, 500, 529]) {
      models.script = () => ({ status, headers: LEAKING.headers, body: { error: { type: 'x', message: SHOWN } } })
      seen.push(await throughSocketOf(lead, { ...body, temperature: status / 1000 }))
    }
    models.script = script
    expect(seen.map((text) => text.slice(0, 3))).toEqual([
      '200',
      '200',
      '400',
      '401',
      '403',
      '404',
      '429',
      '500',
      '529',
    ])
    for (const text of seen) expect(canary.tracesIn(text)).toEqual([])
    for (const text of [seen[0], seen[1], seen[2]]) expect(text).toContain('*'.repeat(KEY.length))
    expect(models.came.at(-1)?.headers['x-api-key']).toBe(KEY)
  })

  test('E1: they have no interface but their own loopback, and no line but to the shim', async () => {
    for (const session of sessions) {
      const [pid = 0] = await processesOf(session)
      expect(
        linesOf(`/proc/${pid}/net/dev`)
          .slice(1)
          .map((line) => line.trim().split(':')[0]),
      ).toEqual(['lo'])
      expect(linesOf(`/proc/${pid}/net/route`)).toEqual([])
      const ends = linesOf(`/proc/${pid}/net/tcp`).flatMap((line) => line.trim().split(/\s+/).slice(1, 3))
      expect(ends.length).toBeGreaterThan(0)
      for (const end of ends) expect(end).toMatch(/^(?:0100007F:[\dA-F]{4}|00000000:0000)$/)
      for (const file of ['udp', 'raw', 'icmp']) expect(linesOf(`/proc/${pid}/net/${file}`)).toEqual([])
      const { hardening } = await home.json<{ hardening: object }>('session', 'show', session.id, '--hardening')
      expect(hardening).toMatchObject({ pass: true, sockets: 'egress' })
    }
  })

  test('both end well: the task of three with its artifact, the edit of Codex under the shipped limits', async () => {
    hold.release()
    const ended = async (id: string) =>
      (
        await until(
          'it has ended',
          () => home.shown(id),
          ({ task }) => !['queued', 'running'].includes(task.state),
        )
      ).task
    const lead = await ended(ids.lead)
    expect(resultOf(lead)).toMatchObject({ turns: 5, text: 'Done.' })
    const artifact = async (id: string, name: string) => {
      const { artifacts } = (await home.json<{ task: Task }>('task', 'show', id)).task as unknown as {
        artifacts: { name: string; sha256: string }[]
      }
      return artifacts.find((each) => each.name === name)
    }
    expect(await artifact(ids.lead, 'found.md')).toBeDefined()
    const codex = await ended(ids.codex)
    expect(resultOf(codex)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('"text":"Edited."') })
    expect(await artifact(ids.codex, 'text.md')).toMatchObject({ size: 8 })
  })

  test('the money of the tree is what the model server counted, priced by hand; Codex costs its shipped price', async () => {
    await until(
      'all is settled',
      () => treeOf(ids.lead),
      (tree) => tree?.heldUsd === 0,
    )
    const byHand = [LEAD, SECOND, THIRD]
      .map(({ model }) => models.told.get(model))
      .reduce((sum, usage) => sum + (usage === undefined ? 0 : pricedByHand(usage)), 0)
    expect(await treeOf(ids.lead)).toMatchObject({ spentUsd: byHand, estimatedUsd: 0 })
    // 1.75 dollars a million in, 14 out.
    expect(await treeOf(ids.codex)).toMatchObject({ spentUsd: 2 * (8000 * 1.75 + 100 * 14), estimatedUsd: 0, calls: 2 })
    expect(came.get(CODEX_MODEL)).toBe(2)
  })
})

test('E14: outside, the key is in no log, record, database, export, backup or word of a command', async () => {
  const notSecret = (path: string) => path.includes(`${home.home}/secrets/`)
  expect(canary.filesWith(home.home, notSecret)).toEqual([])
  const tasks = await home.json<Task[]>('task', 'list')
  for (const { id } of tasks)
    for (const words of [
      ['task', 'show', id, '--json'],
      ['task', 'logs', id],
    ])
      expect(canary.tracesIn((await home.hub(...words)).stdout)).toEqual([])
  for (const words of [['audit', 'export'], ['status'], ['doctor'], ['alerts', '--json'], ['config', 'show']])
    expect(canary.tracesIn((await home.hub(...words)).stdout)).toEqual([])
  const copy = mkdtempSync(join(tmpdir(), 'copy-'))
  try {
    expect((await home.hub('backup', '--out', join(copy, 'home'))).code).toBe(0)
    expect(canary.filesWith(copy)).toEqual([])
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  // What was masked was told.
  expect((await home.hub('status')).stdout).toMatch(/secret_leaving:anthropic[\s\S]*secret_leaving:openai/)
})

test('E8: a budget of one cent stops a tree of three before the cent is passed, and the agent, `hub task show`, an alert, `hub status` and the log say so', async () => {
  const before = new Map(
    [LEAD, SECOND, THIRD].map(({ model }) => [model, pricedByHand(models.told.get(model) as never)]),
  )
  const words: string[] = []
  models.script = ({ model, turn, results, text }) => {
    if (model === THIRD.model) return call('list_files', {})
    words.push(...results, text)
    if (turn > 0) return { text: 'It could not be done.' }
    return call('ask_agent', { agent: model === LEAD.model ? SECOND.name : THIRD.name, task: 'Go on' })
  }
  const task = await home.run(POOR.name, { task: 'Spend' }, '--input', folder)
  const told = [LEAD, SECOND, THIRD]
    .map(({ model }) => pricedByHand(models.told.get(model) as never) - (before.get(model) ?? 0))
    .reduce((sum, each) => sum + each, 0)
  expect(told).toBeLessThanOrEqual(10_000)
  expect(told).toBeGreaterThan(5000)
  await until(
    'all is settled',
    () => treeOf(task.id),
    (tree) => tree?.heldUsd === 0,
  )
  expect(await treeOf(task.id)).toMatchObject({ spentUsd: told, limitUsd: 10_000 })
  // The agent that was stopped, those above it, the log.
  expect(words.join()).toMatch(/budget_exceeded: money of this task and everything below it: the limit is 0\.01 USD/)
  expect((await home.hub('budget', 'show', '--task', task.id)).stdout).toMatch(/0\.01 USD/)
  // The operator: an alert, the screen and the task, with what the model server counted.
  const alerts = await home.json<{ cause: string }[]>('alert', 'list')
  expect(alerts.map(({ cause }) => cause)).toContain(`budget_low:${task.id}:100`)
  const spent = dollarsText(told)
  expect((await home.hub('task', 'show', task.id)).stdout).toMatch(
    new RegExp(`^its tree +${spent} of 0\\.01 USD, `, 'm'),
  )
  expect((await home.hub('status')).stdout).toMatch(/^money +\d+\.\d+ of 10\.00 USD today.*, \d+ calls/m)
  const refused = await home.json<{ action: string; reason: string }[]>('audit', 'list', '--outcome', 'refused')
  expect(refused.filter(({ reason }) => /^budget_exceeded: money/.test(reason)).length).toBeGreaterThan(0)
})

test('a coding agent of forty turns up to 150 000 tokens ends within two dollars, under the limits for coding', async () => {
  // Codex shortens what is longer.
  const read = { name: 'exec_command', input: { cmd: 'head -c 8000 /workspace/in/words.txt' } }
  let [turns, last, most] = [0, 0, 0]
  models.script = ({ inputTokens }) => {
    turns += 1
    const usage = { input: inputTokens, output: 200, cacheRead: last }
    last = inputTokens
    most = Math.max(most, inputTokens)
    if (turns === 40) return { text: 'Done after forty.', usage }
    return { calls: [read, read], usage }
  }
  const task = await home.run('coder', { task: 'Read it again and again' }, '--input', folder)
  expect(resultOf(task)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('Done after forty.') })
  expect(most).toBeGreaterThanOrEqual(150_000)
  const tree = await until(
    'all is settled',
    () => treeOf(task.id),
    (found) => found?.heldUsd === 0,
  )
  expect(tree).toMatchObject({ calls: 40, estimatedUsd: 0 })
  expect(tree?.spentUsd).toBeLessThan(2_000_000)
})

test('the real Codex that fell goes on in the next start of its task: its request holds the first turn', async () => {
  const asked: string[] = []
  models.script = ({ turn }) => {
    asked.push(JSON.stringify(models.came.at(-1)))
    // Its own shell ends it in the middle of the turn.
    if (asked.length === 1)
      return { text: 'I looked at it.', calls: [{ name: 'exec_command', input: { cmd: 'kill -9 $PPID' } }] }
    return { text: `Done in turn ${turn}.` }
  }
  const task = await home.run('resuming', { task: 'Remember the word heliotrope' }, '--input', folder)
  expect(task.state).toBe('succeeded')
  expect(task).toMatchObject({ attempts: 2 })
  expect(asked).toHaveLength(2)
  for (const words of ['Remember the word heliotrope', 'I looked at it.', 'Go on']) expect(asked[1]).toContain(words)
})

/** Requests outward that the hub has refused since it began, those from memory too. */
async function refusedSoFar(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${home.metricsPort}/metrics`)).text()
  return Number(/^hub_egress_requests_total\{result="refused"\} (\d+)$/m.exec(text)?.[1])
}

test('the real Codex takes a refusal as final: one request at the gateway, none at the model (S2-31)', async () => {
  const [refused, came] = [await refusedSoFar(), models.came.length]
  const task = await home.run('broke', { task: 'Edit text.md' }, '--input', folder)
  expect(task.state).toBe('failed')
  expect(JSON.stringify(task)).toContain('budget_exceeded')
  expect([(await refusedSoFar()) - refused, models.came.length - came]).toEqual([1, 0])
})

test('the real Codex uses the tools of the hub, over stdio and over HTTP; an image without them is refused by name', async () => {
  const use = (server: 'hub' | 'web', name: string, input: object = {}) => ({
    calls: [{ namespace: `mcp__${server}`, name, input: { ...input } }],
  })
  const told: string[] = []
  models.script = ({ turn, results }) => {
    told.push(...results)
    return (
      [
        use('hub', 'progress', { text: 'by stdio' }),
        use('web', 'artifact_write', { name: 'by-http.md', text: 'x' }),
        use('hub', 'message', { to: 'topic:news', type: 'x.y', body: { n: 1 } }),
        use('hub', 'message', { to: `agent:${LEAD.name}`, type: 'x.y' }),
      ][turn] ?? { text: 'Told.' }
    )
  }
  const [task, unbuilt] = await Promise.all([
    home.run('talker', { task: 'Tell them' }, '--input', folder),
    home.run('unbuilt', { task: 'Tell them' }, '--input', folder),
  ])
  expect(resultOf(task)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('Told.') })
  expect(task).toMatchObject({ progress: { text: 'by stdio' }, artifacts: [{ name: 'by-http.md', size: 1 }] })
  // The same gate, and its record.
  expect(told[2]).toContain('"ok": true')
  expect(told[3]).toContain('policy_denied')
  const records = await home.json<{ principal: string; action: string; resource: string; outcome: string }[]>(
    'audit',
    'list',
  )
  expect(
    records
      .filter(({ principal, action }) => principal.startsWith('agent:talker/') && action === 'message.sent')
      .map(({ resource, outcome }) => [resource, outcome]),
  ).toEqual([
    [`agent:${LEAD.name}`, 'refused'],
    ['topic:news', 'ok'],
  ])
  expect(unbuilt).toMatchObject({
    state: 'failed',
    outcome: {
      error: expect.stringContaining('the card asks for mcp, and this image does not hold it; build it again'),
    },
  })
})

test('E9: kill -9 of the hub in the middle of an answer leaves its reserve settled once', async () => {
  models.script = () => ({ text: 'x'.repeat(2000), transport: { stallAfter: 500 } })
  const { task } = await home.place(THIRD.name, { task: 'Wait' })
  const open = await until(
    'the answer is under way',
    () => budgetOf(task),
    ({ calls }) => calls.length === 1 && models.open() === 1,
  )
  expect(open.calls).toMatchObject([{ state: 'open', usd: null }])
  let pid = home.hubPid
  for (const _ of [1, 2]) {
    process.kill(pid, 'SIGKILL')
    await until(
      'it has gone',
      () => hasEnded(pid),
      (gone) => gone,
    )
    pid = await home.startHub()
    const { calls, accounts } = await budgetOf(task)
    const reserved = open.calls[0]?.reservedUsd
    expect(calls).toMatchObject([{ state: 'estimated', usd: reserved }])
    expect(accounts.find(({ scope }) => scope === 'tree')).toMatchObject({
      spentUsd: reserved,
      estimatedUsd: reserved,
      heldUsd: 0,
    })
  }
})

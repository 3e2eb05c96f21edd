/**
 * Does what `params.what` says; everything it answers names the session and the attempt it ran in.
 *
 * work: waits `ms` and answers, in a later attempt `laterMs` if that is given. ask: waits for the operator's answer. crash: ends without a result, in the first `crashes` attempts. hang: blocks its one thread for ever and
 * hears no SIGTERM. delegate: has `children` done and answers with them. talk: asks its fellows until `ms` have passed and
 * `least` have answered. spin: burns a
 * core on `threads` threads for `ms`. flood: sends as fast as it can for `ms`. sleep: until it is told to stop.
 */
import { Worker } from 'node:worker_threads'
import { connect, type TaskFacts } from '../../../../hub/client/agent.ts'

const hub = await connect()
const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
const BURN =
  'const { workerData } = require("node:worker_threads"); const end = Date.now() + workerData; while (Date.now() < end);'

const acts: Record<string, (task: TaskFacts, signal: AbortSignal) => unknown> = {
  work: async ({ params, attempt }) => wait(Number((attempt > 1 ? params.laterMs : undefined) ?? params.ms ?? 0)),
  ask: async () => void (await hub.ask('may it go on?', { timeoutMs: 540_000 })),
  crash: async ({ params, attempt }) => {
    await wait(Number(params.ms ?? 0))
    if (attempt <= Number(params.crashes ?? 1)) process.kill(process.pid, 'SIGKILL')
  },
  hang: async () => {
    await hub.log('hangs')
    process.on('SIGTERM', () => undefined)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  },
  sleep: (_, signal) =>
    new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  delegate: async ({ params }) => {
    const children = Array.from({ length: Number(params.children ?? 2) }, () =>
      hub.delegate({ agent: 'trial-child', params: { what: 'work', ms: params.ms ?? 0 } }),
    )
    return (await Promise.all(children)).map(({ outcome }) => outcome)
  },
  talk: async ({ params }) => {
    const [endAt, took] = [performance.now() + Number(params.ms ?? 1000), [] as number[]]
    while (performance.now() < endAt || took.length < Number(params.least ?? 0)) {
      const askedAt = performance.now()
      // Nobody may be there, or the hub may be away: both are part of the trial.
      const heard = await hub.request('agent:trial', 'trial.ping', {}, { timeoutMs: 20_000 }).catch(() => undefined)
      if (heard !== undefined) took.push(performance.now() - askedAt)
      await wait(Number(params.everyMs ?? 200))
    }
    return took.map((ms) => Math.round(ms * 10) / 10)
  },
  flood: async ({ params }) => {
    const endAt = performance.now() + Number(params.ms ?? 1000)
    let [sent, refused] = [0, 0]
    const one = async () => {
      while (performance.now() < endAt) {
        sent += 1
        await hub.send('event', 'agent:trial-child', 'trial.noise', { text: 'x' }).catch(() => {
          refused += 1
        })
      }
    }
    await Promise.all(Array.from({ length: 64 }, one))
    return { sent, refused }
  },
  spin: async ({ params }) => {
    const ms = Number(params.ms ?? 1000)
    const threads = Array.from(
      { length: Number(params.threads ?? 4) },
      () => new Worker(BURN, { eval: true, workerData: ms }),
    )
    await Promise.all(threads.map((thread) => new Promise((resolve) => thread.on('exit', resolve))))
  },
}

hub.onMessage('trial.ping', () => ({ session: hub.joined.session }))
hub.onTask(async (task, signal) => {
  const act = acts[String(task.params.what)]
  if (act === undefined) throw new Error(`nothing is called ${String(task.params.what)}`)
  const answer = await act(task, signal)
  return { session: hub.joined.session, attempt: task.attempt, answer: answer ?? null }
})

/** An agent that lets others work: it delegates, asks an agent it may talk to, tells a topic, and can be asked itself. */
import type { HubAgent } from '../../../../hub/client/agent.ts'

export function register(hub: HubAgent): void {
  let seen = 0
  hub.onMessage('lead.count', () => ({ seen }))
  hub.onTask(async (task, signal) => {
    // A failed child is an outcome; a delegation that is refused throws.
    const child = await hub.delegate({ agent: 'reader', inputs: task.inputs, ttlMs: 60_000 })
    if (child.outcome !== 'succeeded') throw new Error(`the reader ${child.outcome}: ${child.error ?? ''}`)
    seen += 1
    const { ok } = await hub.request('agent:judge', 'lead.check', { value: child.value }, { timeoutMs: 10_000 })
    await hub.publish('reports', 'lead.done', { ok })
    // What there is when the task is cancelled or its time is up.
    hub.partial({ value: child.value })
    signal.throwIfAborted()
    return { ok, value: child.value }
  })
}

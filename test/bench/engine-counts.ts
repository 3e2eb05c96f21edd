/** What the engine itself counts. */
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'

export async function askEngine<Answer>(path: string): Promise<Answer> {
  const asked = { socketPath: ENGINE_SOCKET, method: 'GET', path, deadlineMs: 30_000, bytesMax: 1e6 } as const
  return JSON.parse((await exchange(createSystemClock(), asked)).body.toString()) as Answer
}

interface Stats {
  memory_stats: { usage: number; stats: Record<string, number> }
}

/** Memory of one container in MiB, without what the kernel would give back at once. */
export async function containerMb(id: string | null): Promise<number> {
  const { memory_stats: memory } = await askEngine<Stats>(`/containers/${id}/stats?stream=false&one-shot=true`)
  const givenBack = memory.stats.inactive_file ?? memory.stats.total_inactive_file ?? 0
  return (memory.usage - givenBack) / 1024 ** 2
}

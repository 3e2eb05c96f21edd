/** Sleeps until it is told to stop. With `stubborn: true` it hears neither the hub nor SIGTERM: its one thread waits for ever. */
import { connect } from '../../../../hub/client/agent.ts'

const hub = await connect()
hub.onTask(async (task, signal) => {
  await hub.log('asleep')
  if (task.params.stubborn === true) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  return { stopped: true }
})

/** The canary: at work until somebody stops it. `hub drill` does, once by the hub and once by the watchdog. */
import { connect } from '../../hub/client/agent.ts'

const hub = await connect()
hub.onTask(async (_task, signal) => {
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  return { stopped: true }
})

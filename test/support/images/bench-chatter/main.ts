/** Publishes until it is told to stop, many at once, and hears what the others publish. What is refused for its rate is simply tried again. */
import { connect } from '../../../../hub/client/agent.ts'

const AT_ONCE = 16

const hub = await connect()
hub.onTask(async (_task, signal) => {
  let heard = 0
  await hub.subscribe('load', () => {
    heard += 1
  })
  const lane = async () => {
    while (!signal.aborted)
      await hub
        .publish('load', 'load.tick', { text: 'x'.repeat(200) })
        .catch(() => new Promise((resolve) => setTimeout(resolve, 20)))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return { heard }
})

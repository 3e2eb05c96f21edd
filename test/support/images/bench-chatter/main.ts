/**
 * Publishes to one topic until it is told to stop, many at once, and hears another: `{ says, hears }`, names of topics.
 * What is refused for its rate is simply tried again.
 */
import { connect } from '../../../../hub/client/agent.ts'

const AT_ONCE = 16

const hub = await connect()
hub.onTask(async ({ params }, signal) => {
  const { says, hears } = params as { says: string; hears: string }
  let heard = 0
  await hub.subscribe(hears, () => {
    heard += 1
  })
  const lane = async () => {
    while (!signal.aborted)
      await hub
        .publish(says, 'load.tick', { text: 'x'.repeat(200) })
        .catch(() => new Promise((resolve) => setTimeout(resolve, 20)))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return { heard }
})

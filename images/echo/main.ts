/** The smallest agent: its result is its parameters. */
import { connect } from '../../hub/client/agent.ts'

const hub = await connect()
hub.onTask((task) => task.params)

/** The smallest engine: it speaks the API of 20.10 and has no container. For tests of processes that need one to answer, and no more. */
import http from 'node:http'

export const createEmptyEngine = (): http.Server =>
  http.createServer(({ url }, response) =>
    response.end(url === '/version' ? '{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}' : '[]'),
  )

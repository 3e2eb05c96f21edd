/** T37: what an outgoing request may reach, as tables, and against a real listener on loopback that must never be hit. */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { reachOf, readTarget } from '../../watchdog/base/address.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { createOutward } from '../../watchdog/tell/channels/outward.ts'

let port = 0
let hits = 0
const server = http.createServer((_request, response) => {
  hits += 1
  response.end()
})
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '::', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => void server.close())

test.each([
  ['8.8.8.8', 'public'],
  ['1.1.1.1', 'public'],
  ['172.15.255.255', 'public'],
  ['172.32.0.1', 'public'],
  ['2606:4700:4700::1111', 'public'],
  ['::ffff:8.8.8.8', 'public'],
  ['127.0.0.1', 'local'],
  ['127.255.255.254', 'local'],
  ['10.0.0.1', 'local'],
  ['172.16.0.1', 'local'],
  ['172.31.255.255', 'local'],
  ['192.168.1.1', 'local'],
  ['100.64.0.1', 'local'],
  ['198.18.0.1', 'local'],
  ['::1', 'local'],
  ['fc00::1', 'local'],
  ['fdff::1', 'local'],
  ['::ffff:127.0.0.1', 'local'],
  ['::ffff:7f00:1', 'local'],
  ['64:ff9b::10.0.0.1', 'local'],
  ['2002:7f00:1::', 'local'],
  ['0.0.0.0', 'never'],
  ['0.1.2.3', 'never'],
  ['169.254.169.254', 'never'],
  ['169.254.0.1', 'never'],
  ['100.100.100.200', 'never'],
  ['192.0.0.192', 'never'],
  ['224.0.0.1', 'never'],
  ['255.255.255.255', 'never'],
  ['192.0.2.1', 'never'],
  ['::', 'never'],
  ['fe80::1', 'never'],
  ['fec0::1', 'never'],
  ['ff02::1', 'never'],
  ['fd00:ec2::254', 'never'],
  ['fd20:ce::254', 'never'],
  ['2001::1', 'never'],
  ['2001:db8::1', 'never'],
  ['::ffff:169.254.169.254', 'never'],
  ['64:ff9b::169.254.169.254', 'never'],
  ['2002:a9fe:a9fe::', 'never'],
  ['::127.0.0.1', 'never'],
  ['fe80::1%eth0', 'never'],
  ['example.org', 'never'],
  ['0177.0.0.1', 'never'],
])('T37: %s is %s', (address, reach) => {
  expect(reachOf(address)).toBe(reach)
})

/** Every one would reach the listener if it got past; PORT is the listener's. */
const FORMS = [
  'https://127.0.0.1:PORT/',
  'http://127.0.0.1:PORT/',
  'https://127.1:PORT/',
  'https://127.0.1:PORT/',
  'https://2130706433:PORT/',
  'https://0x7f000001:PORT/',
  'https://0x7f.0.0.1:PORT/',
  'https://0X7F.1:PORT/',
  'https://0177.0.0.1:PORT/',
  'https://017700000001:PORT/',
  'https://0:PORT/',
  'https://0.0.0.0:PORT/',
  'https://127.0.0.2:PORT/',
  'https://127.000.000.001:PORT/',
  'https://127。0。0。1:PORT/',
  'https://①②⑦.⓪.⓪.①:PORT/',
  'https://１２７.0.0.1:PORT/',
  'https://[::1]:PORT/',
  'https://[0:0:0:0:0:0:0:1]:PORT/',
  'https://[::]:PORT/',
  'https://[::ffff:127.0.0.1]:PORT/',
  'https://[::ffff:7f00:1]:PORT/',
  'https://[0:0:0:0:0:ffff:7f00:0001]:PORT/',
  'https://[::ffff:0:127.0.0.1]:PORT/',
  'https://[::127.0.0.1]:PORT/',
  'https://[64:ff9b::127.0.0.1]:PORT/',
  'https://[2002:7f00:1::]:PORT/',
  'https://localhost:PORT/',
  'https://LOCALHOST:PORT/',
  'https://localhost.:PORT/',
  'https://name.localhost:PORT/',
  'https://rebind.example:PORT/',
  'https://mixed.example:PORT/',
  'https://metadata.example:PORT/',
  'https://169.254.169.254/latest/meta-data/',
  'https://2852039166/latest/meta-data/',
  'https://0xa9fea9fe/latest/meta-data/',
  'https://0251.0376.0251.0376/latest/meta-data/',
  'https://[::ffff:169.254.169.254]/latest/meta-data/',
  'https://[fd00:ec2::254]/latest/meta-data/',
  'https://100.100.100.200/latest/meta-data/',
  'https://10.0.0.1:PORT/',
  'https://192.168.0.1:PORT/',
  'https://172.16.0.1:PORT/',
  'https://[fe80::1]:PORT/',
  'https://[fe80::1%25lo]:PORT/',
  'https://[fc00::1]:PORT/',
  'https://user@127.0.0.1:PORT/',
  'https://hooks.example.org@127.0.0.1:PORT/',
  'https://hooks.example.org:secret@127.0.0.1:PORT/',
  'https://hooks.example.org#@127.0.0.1:PORT/',
  'https://127.0.0.1:PORT#.hooks.example.org/',
  'https:\\\\127.0.0.1:PORT\\',
  '//127.0.0.1:PORT/',
  'https:127.0.0.1:PORT/',
  'https://127.0.0.1:0/',
  'ftp://127.0.0.1:PORT/',
  'file:///etc/passwd',
  'gopher://127.0.0.1:PORT/_',
  'unix:/var/run/docker.sock',
  'data:text/plain,hello',
  'javascript:alert(1)',
  'ws://127.0.0.1:PORT/',
  'https://',
  '',
]

const RESOLVED: Record<string, string[]> = {
  localhost: ['127.0.0.1', '::1'],
  'localhost.': ['127.0.0.1'],
  'name.localhost': ['127.0.0.1'],
  'rebind.example': ['127.0.0.1'],
  'mixed.example': ['93.184.216.34', '127.0.0.1'],
  'metadata.example': ['169.254.169.254'],
}

test.each(FORMS)('T37: %s reaches nothing [alert-20]', async (form) => {
  const outward = createOutward({ clock: createSystemClock(), resolve: async (host) => RESOLVED[host] ?? [] })
  const url = form.replace('PORT', String(port))
  const call = { url, local: false, method: 'POST' as const, headers: {}, body: 'x', deadlineMs: 60_000 }
  await expect(outward(call)).rejects.toThrow()
  expect(hits).toBe(0)
})

test('T37: the name is resolved once and the connection goes to the address that was judged [alert-20]', async () => {
  const asked: string[] = []
  const outward = createOutward({
    clock: createSystemClock(),
    resolve: async (host) => {
      asked.push(host)
      return asked.length === 1 ? ['127.0.0.1'] : ['10.9.9.9']
    },
  })
  const url = `http://hooks.example:${port}/in`
  await outward({ url, local: true, method: 'POST', headers: {}, body: 'x', deadlineMs: 60_000 })
  expect({ asked, hits }).toEqual({ asked: ['hooks.example'], hits: 1 })
})

test('T37: local names a target inside on purpose, yet never a metadata service; plain http is for local targets only', () => {
  expect(readTarget('http://127.0.0.1:8080/x', true)).toBeInstanceOf(URL)
  expect(readTarget('http://ntfy.example.org/x', false)).toMatch(/must be https/)
  expect(readTarget('http://169.254.169.254/x', true)).toMatch(/never reached/)
  expect(readTarget('https://10.0.0.1/x', false)).toMatch(/list it under local to allow it/)
  expect(readTarget('https://ntfy.example.org/topic', false)).toBeInstanceOf(URL)
})

test('T37, fault C23: an address that takes no connection is passed over for the next one judged; one that answered is the last', async () => {
  const heard: string[] = []
  const there = http.createServer((request, response) => {
    heard.push(request.url ?? '')
    if (request.url === '/cut') return request.socket.destroy()
    response.writeHead(request.url === '/no' ? 500 : 200).end()
  })
  await new Promise<void>((resolve) => there.listen(0, '127.0.0.3', resolve))
  const at = (there.address() as AddressInfo).port
  const outwardOf = (...found: string[]) => createOutward({ clock: createSystemClock(), resolve: async () => found })
  const call = (path: string) => ({
    ...{ url: `http://two.example:${at}${path}`, local: true, method: 'POST' as const, headers: {}, body: 'x' },
    deadlineMs: 60_000,
  })
  try {
    await outwardOf('::1', '127.0.0.2', '127.0.0.3')(call('/yes'))
    await expect(outwardOf('127.0.0.3', '127.0.0.2')(call('/no'))).rejects.toThrow('answered 500')
    await expect(outwardOf('127.0.0.2', '127.0.0.4')(call('/none'))).rejects.toThrow('ECONNREFUSED')
    await expect(outwardOf('127.0.0.2', '169.254.169.254', '127.0.0.3')(call('/evil'))).rejects.toThrow(/never reached/)
    await expect(outwardOf('127.0.0.3', '127.0.0.2')(call('/cut'))).rejects.toThrow('hang up')
    expect(heard).toEqual(['/yes', '/no', '/cut'])
  } finally {
    there.close()
  }
})

// The life of a session, the same for every library: `sessions` says how this one does each thing.
//   create(user, seconds) → handle    read(handle) → { user, visits } or null    modify(handle) counts one more visit
//   touch(handle)    regenerate(handle) → another handle    destroy(handle)    list() → how many there are
// What a library does not offer is left out, and the transcript says so.
import { again, crash, end, pause, step } from './act.mjs';

const LONG_S = 3_600;
// Two, since some libraries round what is left down to whole seconds, and Redis refuses a life of 0.
const BRIEF_S = 2;
// Slept and not polled: a read is a touch where sessions roll, and would keep it alive.
const SURELY_OVER_MS = 3_200;
const none = 'not offered';

export async function live(sessions) {
  const { create, read, modify, touch, list, regenerate, destroy } = sessions;
  let ada;
  let grace;
  const createBoth = async () => {
    ada = await create('ada', LONG_S);
    grace = await create('grace', LONG_S);
    return 'created';
  };
  await step('create', createBoth);
  // A library that cannot even do this with its client has nothing more to show.
  if (!grace) {
    await step('list', async () => (list ? list() : none));
    await crash();
    await step('create after the crash', createBoth);
    await end();
  }
  await step('read', async () => [await read(ada), await read(grace)]);
  await step('modify', async () => { await modify(ada); return read(ada); });
  await step('touch', async () => (touch ? { touched: (await touch(ada)) ?? null, read: await read(ada) } : none));
  await step('list', async () => (list ? list() : none));
  await step('regenerate', async () => {
    if (!regenerate) return none;
    const old = ada;
    ada = await regenerate(ada);
    return { old: await read(old), new: await read(ada) };
  });
  await step('expire', async () => {
    const brief = await create('brief', BRIEF_S);
    const first = await read(brief);
    await pause(SURELY_OVER_MS);
    return { first, then: await read(brief) };
  });
  await crash();
  await step('read after the crash', async () => [await again(() => read(ada)), await again(() => read(grace))]);
  await step('modify after the crash', async () => { await modify(ada); return read(ada); });
  await step('destroy', async () => { await destroy(grace); return read(grace); });
  await crash();
  await step('read after the second crash', async () => [await again(() => read(ada)), await again(() => read(grace))]);
  await end();
}

// Waiting that is always bounded and never blind: ask again until it is so, or say what was last seen.

export class DeadlineMissed extends Error {}

// Returns the first value of `ask` that is neither undefined, null nor false. An `ask` that throws is asked again,
// unless it throws a `Refuted`: then the wait is pointless and the test fails at once.
export async function until(what, ask, { within_ms = 20_000, every_ms = 20 } = {}) {
  const deadline_ms = performance.now() + within_ms;
  let last;
  do {
    try {
      last = await ask();
      if (last !== undefined && last !== null && last !== false) return last;
    } catch (error) {
      if (error instanceof Refuted) throw error;
      last = error;
    }
    await pause(every_ms);
  } while (performance.now() < deadline_ms);
  throw new DeadlineMissed(`not within ${within_ms} ms: ${what}; last seen: ${last instanceof Error ? last.message : last}`);
}

// Thrown inside an `ask` when what was seen can never become right, such as a nil for a session that must exist.
export class Refuted extends Error {}

function pause(duration_ms) {
  return new Promise((resolve) => setTimeout(resolve, duration_ms));
}

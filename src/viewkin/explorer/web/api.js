// Requests to the server of this page, and nowhere else.

async function checked(answer) {
  if (answer.ok) return answer;
  let why = `The server answered ${answer.status}.`;
  try {
    const told = await answer.json();
    why = told.error ?? why;
  } catch {
    // no JSON: the number has to do
  }
  throw new Error(why);
}

async function asked(path, options) {
  try {
    return await checked(await fetch(path, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Error("viewkin explore no longer answers: start it again.");
    throw error;
  }
}

export const get = async (path) => (await asked(path)).json();

export const getResponse = (path) => asked(path);

export const post = (path, body) =>
  asked(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export const postImage = async (path, blob) =>
  (await asked(path, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: blob })).json();

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Ask until a long piece of work has ended; `tell` is told how far it is, and says by `false` that nobody waits. */
export async function getWhenReady(path, tell, first = path) {
  let asking = first;
  for (;;) {
    const answer = await asked(asking);
    const told = await answer.json();
    if (told.error) throw new Error(told.error);
    if (answer.status !== 202) return told;
    if (tell(told) === false) return null;
    asking = path; // what is made anew is made anew once
    await pause(400);
    if (tell(told) === false) return null;
  }
}

/** Say in a few words how far a piece of work is. */
export function progressText(told) {
  const count = told.total ? ` ${told.done.toLocaleString("en")} of ${told.total.toLocaleString("en")}` : "";
  return `${told.description}${count} …`;
}

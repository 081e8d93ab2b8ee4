// Fetches what xz has packed, and unpacks it beside the page, which stays smooth meanwhile.
import { XzReadableStream } from "xz-decompress";

onmessage = async ({ data: address }) => {
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    const bytes = await new Response(new XzReadableStream(answer.body)).arrayBuffer();
    postMessage({ bytes }, [bytes]);
  } catch (error) {
    postMessage({ error: error.message });
  }
};

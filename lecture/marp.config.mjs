import LectureEngine from "./engine.mjs";

export default {
  engine: (options) => new LectureEngine(options),
  options: { looseYAML: false },
};

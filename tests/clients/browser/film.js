// Tonight's film: drawn on a canvas, so that there is something to watch without a file.

const WIDTH = 960;
const HEIGHT = 540;

export function film(title) {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  draw(context, title);
  setInterval(() => draw(context, title), 100);
  return canvas.captureStream(10);
}

function draw(context, title) {
  const turn = (Date.now() / 60_000) * 2 * Math.PI;
  const sky = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
  sky.addColorStop(0, `hsl(${(turn * 200) % 360} 55% 22%)`);
  sky.addColorStop(1, `hsl(${(turn * 200 + 70) % 360} 60% 42%)`);
  context.fillStyle = sky;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  context.fillStyle = "rgb(255 255 255 / 90%)";
  context.beginPath();
  context.arc(WIDTH * (0.5 + 0.4 * Math.cos(turn * 10)), HEIGHT * 0.35, 46, 0, 2 * Math.PI);
  context.fill();
  context.font = "600 40px system-ui, sans-serif";
  context.fillText(title, 40, HEIGHT - 44);
}

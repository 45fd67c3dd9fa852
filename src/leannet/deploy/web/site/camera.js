// The camera: started and stopped by one button, frame after frame as fast as the network answers.

const REASONS = {
  NotAllowedError: "The camera may not be used: this page was not allowed to. Allow it in the browser and start again.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera cannot be read. Does another program use it?",
};

/**
 * Makes the camera usable.
 * @param parts The elements button, live and video.
 * @param onFrame Called with the video, again when the promise it returns is done.
 * @param say Told what went wrong, or nothing when it is put right.
 */
export function setUpCamera({ button, live, video }, onFrame, say) {
  const stop = () => {
    if (video.srcObject) video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    live.hidden = true;
    button.textContent = "Start the camera";
  };

  const watch = async (stream) => {
    try {
      while (video.srcObject === stream) {
        // One picture of the screen at least lies in between, so that the page stays usable; none comes while it is hidden.
        await new Promise((resolve) => requestAnimationFrame(resolve));
        if (video.srcObject === stream && video.videoWidth) await onFrame(video);
      }
    } catch (error) {
      stop();
      say(`The picture of the camera is not answered: ${error.message}`, true);
    }
  };

  button.addEventListener("click", async () => {
    if (video.srcObject) return stop();
    button.disabled = true;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      stream.getVideoTracks().forEach((track) => track.addEventListener("ended", stop));
      video.srcObject = stream;
      await video.play();
      live.hidden = false;
      button.textContent = "Stop the camera";
      say("");
      watch(stream);
    } catch (error) {
      stop();
      say(REASONS[error.name] || `The camera cannot be used: ${error.message}`, true);
    } finally {
      button.disabled = false;
      button.focus();
    }
  });
}

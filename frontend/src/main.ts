import "./styles/tokens.css";
import "./styles/base.css";
import { mount } from "svelte";
import App from "./App.svelte";
import { mustAsk, takeArrival } from "./lib/arrival";
import { language } from "./lib/words";

const arrival = takeArrival(location, history, mustAsk(document));
document.documentElement.lang = language;
mount(App, { target: document.getElementById("app")!, props: { arrival } });

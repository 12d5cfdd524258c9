import "./styles/tokens.css";
import "./styles/base.css";
import { mount } from "svelte";
import App from "./App.svelte";
import { language } from "./lib/words";

document.documentElement.lang = language;
mount(App, { target: document.getElementById("app")! });
